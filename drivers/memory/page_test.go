package memory

import (
	"os"
	"strings"
	"testing"
)

// TestPageNamesEveryWord: what like= and without= may have is on the page.
func TestPageNamesEveryWord(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/memory.md")
	if err != nil {
		t.Fatal(err)
	}
	words := make([]string, 0, len(presets)+len(features))
	for word := range presets {
		words = append(words, word)
	}
	for word := range features {
		words = append(words, word)
	}
	for _, word := range words {
		if !strings.Contains(string(page), "`"+word+"`") {
			t.Errorf("docs/memory.md does not have %s", word)
		}
	}
}
