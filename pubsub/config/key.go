package config

import "strings"

// under makes the key of a part beneath another.
func under(key string, parts ...string) string {
	for _, part := range parts {
		if key != "" {
			key += "."
		}
		key += part
	}
	return key
}

// parent returns the key without its last part; empty at the top.
func parent(key string) string {
	return key[:max(0, strings.LastIndexByte(key, '.'))]
}
