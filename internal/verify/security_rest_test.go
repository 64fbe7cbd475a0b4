package verify

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"
)

func zipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("inner")
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestSearchFindsWhatIsPlanted is the control of what ciphertext.at-rest finds
// nothing by.
func TestSearchFindsWhatIsPlanted(t *testing.T) {
	mark := rand.Text()
	base64Of := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	inJSON, err := json.Marshal(map[string]any{"name": "Probe " + mark, "n": 1})
	if err != nil {
		t.Fatal(err)
	}
	const piece = 1 << 20
	for name, tt := range map[string]struct {
		file, content string
		found         bool
	}{
		"plain":                     {"a", mark, true},
		"in JSON":                   {"a", string(inJSON), true},
		"in lower case":             {"a", "x" + strings.ToLower(mark) + "x", true},
		"hexadecimal":               {"a", hex.EncodeToString([]byte("ab" + mark + "c")), true},
		"HEXADECIMAL":               {"a", strings.ToUpper(hex.EncodeToString([]byte(mark))), true},
		"base64":                    {"a", base64Of(mark + "xyz"), true},
		"base64, one further":       {"a", base64Of("a" + mark + "xyz"), true},
		"base64, two further":       {"a", base64Of("ab" + mark + "xyz"), true},
		"base64 of JSON":            {"a", base64Of(string(inJSON)), true},
		"where two pieces meet":     {"a", strings.Repeat("-", piece-len(mark)/2) + mark + strings.Repeat("-", piece), true},
		"at the end of a piece":     {"a", strings.Repeat("-", piece-len(mark)) + mark, true},
		"in the third piece":        {"a", strings.Repeat("-", 2*piece+7) + mark, true},
		"in a folder":               {"a/b/c", mark, true},
		"in a zip archive":          {"a.zip", string(zipped(t, strings.Repeat("-", piece)+mark)), true},
		"in what is no zip archive": {"a.zip", mark, true},
		"of another":                {"a", rand.Text(), false},
		"cut short":                 {"a", mark[1:] + mark[:len(mark)-1], false},
		"empty":                     {"a", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			files := fstest.MapFS{tt.file: {Data: []byte(tt.content)}, "other": {Data: []byte("nothing")}}
			got, err := search(t.Context(), files, map[string]string{"name": mark, "other": rand.Text()})
			if err != nil || got.files != 2 {
				t.Fatalf("%+v, %v", got, err)
			}
			if found := len(got.places) > 0; found != tt.found {
				t.Errorf("found: %q", got.places)
			}
			for _, p := range got.places {
				if !strings.HasPrefix(p, tt.file) || !strings.Contains(p, ": name") {
					t.Errorf("found at %q, want in %s", p, tt.file)
				}
			}
		})
	}
}
