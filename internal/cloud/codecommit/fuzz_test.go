package codecommit

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/go-git/go-git/v5/plumbing"
)

// FuzzGit: whatever git's programs are sent by somebody who may push, they
// answer, and the branches still lead to commits.
func FuzzGit(f *testing.F) {
	const none = "0000000000000000000000000000000000000000"
	command := func(from, to, ref string) string {
		line := from + " " + to + " " + ref + "\x00report-status"
		return pktLine(line) + "0000"
	}
	emptyPack := "PACK\x00\x00\x00\x02\x00\x00\x00\x00\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e"
	tip := "1111111111111111111111111111111111111111"
	for _, s := range []string{
		"0000", "0009done\n", pktLine("want "+tip+" agent=x\n") + "00000009done\n", pktLine("deepen 1\n"), "ffff", "0001", "zzzz", "", pktLine("have \xff\n"),
		command(none, tip, "refs/heads/main") + emptyPack, command(tip, none, "refs/heads/main"), command(none, tip, "refs/heads/../x") + "PACK", command(none, tip, "refs/heads/a") + "PACK\x00\x00\x00\x02\xff\xff\xff\xff\x9f\xff\xff\xff\xff",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	giver := newRig(f)
	giver.repository(f, "r")
	given := giver.put(f, "r", map[string]string{"a/b": "x", ".gitignore": "z"})
	repo := giver.id(f, "r")
	var whole bytes.Buffer
	if err := pack(&whole, newObjectStore(giver.DB.View, repo), []plumbing.Hash{plumbing.NewHash(given)}, nil); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(command(none, given, "refs/heads/other")+whole.String()), true)
	f.Add([]byte(command(none, given, "refs/heads/other")+whole.String()[:whole.Len()-30]), true)
	f.Fuzz(func(t *testing.T, body []byte, push bool) {
		r := newRig(t)
		r.repository(t, "r")
		r.put(t, "r", map[string]string{"a/b": "x", "c": "y"})
		program := uploadPack
		if push {
			program = receivePack
		}
		q := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1"+GitPath+"r/"+program, bytes.NewReader(body))
		q.SetBasicAuth("AKANN", password(secret, region, "127.0.0.1", GitPath+"r", time.Now()))
		w := httptest.NewRecorder()
		r.ServeGit(w, q)
		if w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		for _, branch := range []string{"main", "other"} {
			b, err := r.GetBranch(r.ctx, &sdk.GetBranchInput{RepositoryName: new("r"), BranchName: &branch})
			if err != nil {
				continue
			}
			if _, err := r.GetFolder(r.ctx, &sdk.GetFolderInput{RepositoryName: new("r"), CommitSpecifier: b.Branch.CommitId, FolderPath: new("/")}); err != nil {
				t.Errorf("branch %s leads nowhere: %v", branch, err)
			}
		}
	})
}

func pktLine(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }

// id is the identifier of a repository, under which its objects are.
func (r *rig) id(t testing.TB, name string) string {
	t.Helper()
	out, err := r.GetRepository(r.ctx, &sdk.GetRepositoryInput{RepositoryName: &name})
	if err != nil {
		t.Fatal(err)
	}
	return *out.RepositoryMetadata.RepositoryId
}
