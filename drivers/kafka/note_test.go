package kafka

import (
	"reflect"
	"testing"
)

func TestNote(t *testing.T) {
	t.Parallel()
	n := note{base: 1000, head: 5000, open: true, undone: []undone{{1000, 3}, {1001, 0}, {4999, 300}}}
	text := n.encode(4096)
	got, ours, err := readNote(text)
	if !ours || err != nil || !reflect.DeepEqual(got, n) {
		t.Fatalf("got %+v, %v, %v", got, ours, err)
	}
	if _, ours, _ := readNote("somebody else's"); ours {
		t.Error("a stranger's metadata was taken for a note")
	}
	for i := len(notePrefix); i < len(text); i++ {
		damaged := []byte(text)
		damaged[i] ^= 1
		if _, _, err := readNote(string(damaged)); err == nil {
			t.Errorf("damage at %d went unnoticed", i)
		}
	}
}

// A note that becomes too long loses attempts, then everything: never what is undone.
func TestNoteThatIsTooLong(t *testing.T) {
	t.Parallel()
	n := note{head: 1 << 20}
	for i := range int64(1000) {
		n.undone = append(n.undone, undone{i * 100, 1})
	}
	full := len(n.encode(1 << 20))
	short := n.encode(full - 1)
	got, _, err := readNote(short)
	if err != nil || len(got.undone) != 1000 || got.undone[5].attempts != 0 {
		t.Errorf("got %d undone, %v", len(got.undone), err)
	}
	if n.encode(100) != "" {
		t.Error("a note of 1000 messages fits into 100 bytes")
	}
}

// The window stops where its note would not fit any more.
func TestWindowStaysWithinItsNote(t *testing.T) {
	t.Parallel()
	var w window
	limit := capacity(4096)
	var all []*entry
	for offset := int64(0); w.fits(offset, limit); offset += 1 + offset%200 {
		e := &entry{offset: offset}
		w.push(e)
		all = append(all, e)
	}
	for i, e := range all {
		if i%3 == 1 {
			w.remove(e)
		}
	}
	n := w.note(true)
	if got, _, err := readNote(n.encode(4096)); err != nil || len(got.undone) != len(n.undone) {
		t.Errorf("%d of %d undone were noted: %v", len(got.undone), len(n.undone), err)
	}
	if len(all) < 1000 {
		t.Errorf("%d messages fit into a note, want 1000 or more", len(all))
	}
}

// The values are of the Java client's own tests.
func TestMurmur2(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(murmur2(key)); got != want {
			t.Errorf("%s: got %d, want %d", key, got, want)
		}
	}
}

func FuzzNote(f *testing.F) {
	n := note{base: 7, head: 9, undone: []undone{{7, 1}}}
	f.Add(n.encode(4096))
	f.Fuzz(func(_ *testing.T, metadata string) { _, _, _ = readNote(metadata) })
}
