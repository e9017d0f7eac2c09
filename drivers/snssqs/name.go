package snssqs

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
)

// The longest names, and how those of FIFO end.
const (
	queueNameLimit = 80
	topicNameLimit = 256
	fifoSuffix     = ".fifo"
)

// legalName makes a name that Amazon takes: a legal one stays as it is, another has its
// characters replaced and a hash behind it, so that no two names become one.
func legalName(name string, fifo bool, most int) string {
	suffix := ""
	if fifo {
		name, suffix = strings.TrimSuffix(name, fifoSuffix), fifoSuffix
		most -= len(fifoSuffix)
	}
	legal := strings.Map(func(r rune) rune {
		if plain(r) {
			return r
		}
		return '-'
	}, name)
	if legal != name || len(name) > most {
		sum := sha256.Sum256([]byte(name))
		hash := "-" + hex.EncodeToString(sum[:4])
		legal = legal[:min(len(legal), most-len(hash))] + hash
	}
	return legal + suffix
}

func plain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}

// The message groups of FIFO, and deduplication IDs, are of these characters.
const groupLimit = 128

func legalGroup(s string) bool {
	return s != "" && len(s) <= groupLimit && s[0] != ownGroup && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Groups that do not say the key begin with ownGroup.
const ownGroup = '~'

// group is the message group of a key. What has no key gets one for itself.
func group(key string) string {
	switch {
	case key == "":
		return string(ownGroup) + rand.Text()
	case legalGroup(key):
		return key
	default:
		return hashed(key)
	}
}

func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	return string(ownGroup) + base64.RawURLEncoding.EncodeToString(sum[:])
}

// A partition is a part of Amazon with accounts of its own.
type partition struct{ regions, name, domain string }

// partitions are those that ARNs and addresses show; the rest of the world is the last.
var partitions = []partition{
	{"cn-", "aws-cn", "amazonaws.com.cn"},
	{"us-gov-", "aws-us-gov", "amazonaws.com"},
	{"us-iso-", "aws-iso", "c2s.ic.gov"},
	{"us-isob-", "aws-iso-b", "sc2s.sgov.gov"},
	{"eu-isoe-", "aws-iso-e", "cloud.adc-e.uk"},
	{"us-isof-", "aws-iso-f", "csp.hci.ic.gov"},
	{"eusc-", "aws-eusc", "amazonaws.eu"},
	{"", "aws", "amazonaws.com"},
}

func partitionOf(region string) partition {
	return partitions[slices.IndexFunc(partitions, func(p partition) bool { return strings.HasPrefix(region, p.regions) })]
}
