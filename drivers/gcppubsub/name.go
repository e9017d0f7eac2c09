package gcppubsub

import (
	"fmt"
	"strings"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// escaped begins names that Google would not take as they are.
const escaped = "wb~"

// Name is a name as Google takes it: letters, digits and - _ . ~ + stay, other bytes
// become %XX. What does not begin with a letter, begins with "goog", or is shorter
// than three bytes, gets "wb~" in front. Different names stay different.
func Name(name string) string {
	var b strings.Builder
	if strings.HasPrefix(name, escaped) || len(name) < 3 || !letter(name[0]) || strings.HasPrefix(strings.ToLower(name), "goog") {
		b.WriteString(escaped)
	}
	for i := range len(name) {
		if c := name[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func plain(c byte) bool {
	return letter(c) || c >= '0' && c <= '9' || strings.IndexByte("-_.~+", c) >= 0
}

// fits says what is wrong with a name by Google's rules, if anything.
func fits(what, name string) error {
	ok := len(name) >= 3 && len(name) <= 255 && letter(name[0]) && !strings.HasPrefix(strings.ToLower(name), "goog")
	for i := range len(name) {
		ok = ok && (plain(name[i]) || name[i] == '%')
	}
	if ok {
		return nil
	}
	if len(name) > 255 {
		name = name[:60] + "..."
	}
	return driver.Errorf(driver.CodeInvalid,
		"%s name %q is not one of Google's: 3 to 255 letters, digits and - _ . ~ + %%, a letter first, not goog", what, name)
}
