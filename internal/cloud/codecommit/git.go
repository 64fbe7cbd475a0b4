package codecommit

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/revlist"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// GitPath is where git finds repositories, as at the endpoints of AWS.
const GitPath = "/v1/repos/"

// The two programs that git asks for.
const (
	uploadPack  = "git-upload-pack"  // clone, fetch
	receivePack = "git-receive-pack" // push
)

// maxPush bounds what a push may bring.
const maxPush = 256 << 20

// A visit is one request of git's.
type visit struct {
	s         *Service
	call      *wire.Call
	repo      repository
	principal authz.Principal
}

// ServeGit serves git's smart HTTP protocol, version 0, for clone, fetch and
// push. Requests carry the credentials that the AWS CLI's helper makes.
// https://git-scm.com/docs/http-protocol
func (s *Service) ServeGit(w http.ResponseWriter, r *http.Request) {
	name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, GitPath), "/")
	program := strings.TrimPrefix(rest, "/")
	advertise := program == "info/refs"
	if advertise {
		program = r.URL.Query().Get("service")
	}
	if program != uploadPack && program != receivePack {
		http.Error(w, "git's smart HTTP protocol is served, nothing else", http.StatusNotFound)
		return
	}
	v, status, err := s.admit(r, name, program)
	if err != nil {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="AWS CodeCommit"`)
		}
		http.Error(w, err.Error(), status)
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	if advertise {
		w.Header().Set("Content-Type", "application/x-"+program+"-advertisement")
		err = v.advertise(w, program)
	} else {
		w.Header().Set("Content-Type", "application/x-"+program+"-result")
		err = v.serve(w, r, program)
	}
	if err != nil {
		s.Log.Warn("git was not served", "repository", name, "program", program, "error", err)
	}
}

func (v *visit) serve(w http.ResponseWriter, r *http.Request, program string) error {
	body := io.Reader(http.MaxBytesReader(w, r.Body, maxPush))
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, "the body is not gzip", http.StatusBadRequest)
			return err
		}
		defer z.Close()
		body = io.LimitReader(z, maxPush)
	}
	ctx := wire.WithCall(r.Context(), v.call)
	if program == uploadPack {
		return v.upload(w, body)
	}
	return v.receive(ctx, w, body)
}

// heads are the branches with their tips.
func (v *visit) heads() (map[string]string, error) {
	all := map[string]string{}
	return all, v.s.DB.View(func(tx *store.Tx) error {
		for b, err := range branches.Prefix(tx, v.repo.ID+"/") {
			if err != nil {
				return err
			}
			all[refsHeads+b.Key[len(v.repo.ID)+1:]] = b.Value
		}
		return nil
	})
}

// advertise lists the references.
func (v *visit) advertise(w io.Writer, program string) error {
	refs, err := v.heads()
	if err != nil {
		return err
	}
	capabilities := "agent=miniforge"
	if program == receivePack {
		capabilities += " report-status delete-refs"
	} else if tip := refs[refsHeads+v.repo.Default]; tip != "" {
		capabilities += " symref=HEAD:" + refsHeads + v.repo.Default
	}
	type ref struct{ name, tip string }
	var all []ref
	for n, tip := range refs {
		all = append(all, ref{n, tip})
	}
	slices.SortFunc(all, func(a, b ref) int { return strings.Compare(a.name, b.name) })
	if tip := refs[refsHeads+v.repo.Default]; tip != "" && program == uploadPack {
		all = slices.Insert(all, 0, ref{"HEAD", tip})
	}
	if len(all) == 0 {
		all = []ref{{"capabilities^{}", plumbing.ZeroHash.String()}}
	}
	e := pktline.NewEncoder(w)
	if err := errors.Join(e.Encodef("# service=%s\n", program), e.Flush()); err != nil {
		return err
	}
	for i, r := range all {
		line := r.tip + " " + r.name
		if i == 0 {
			line += "\x00" + capabilities
		}
		if err := e.EncodeString(line + "\n"); err != nil {
			return err
		}
	}
	return e.Flush()
}

// upload sends what a clone or fetch wants and has not.
func (v *visit) upload(w io.Writer, body io.Reader) error {
	o := newObjectStore(v.s.DB.View, v.repo.ID)
	e := pktline.NewEncoder(w)
	refs, err := v.heads()
	if err != nil {
		return err
	}
	var wants, common []plumbing.Hash
	done := false
	lines := pktline.NewScanner(body)
	for lines.Scan() {
		word, rest, _ := strings.Cut(strings.TrimSuffix(string(lines.Bytes()), "\n"), " ")
		id, _, _ := strings.Cut(rest, " ")
		switch word {
		case "want":
			if !isTip(refs, id) {
				return e.Encodef("ERR upload-pack: not our ref %s", id)
			}
			wants = append(wants, plumbing.NewHash(id))
		case "have":
			if h := plumbing.NewHash(id); isHash(id) && o.HasEncodedObject(h) == nil {
				common = append(common, h)
			}
		case "shallow", "deepen", "deepen-since", "deepen-not", "filter":
			return e.EncodeString("ERR shallow and partial clones are not served: clone without --depth and --filter")
		case "done":
			done = true
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	answer := "NAK\n"
	if len(common) > 0 {
		answer = "ACK " + common[len(common)-1].String() + "\n"
	}
	if err := e.EncodeString(answer); err != nil || !done {
		return err
	}
	return pack(w, o, wants, common)
}

func isTip(refs map[string]string, id string) bool {
	for _, tip := range refs {
		if tip == id {
			return true
		}
	}
	return false
}

func pack(w io.Writer, o *objectStore, wants, common []plumbing.Hash) error {
	known, err := revlist.Objects(o, common, nil)
	if err != nil {
		return err
	}
	wanted, err := revlist.Objects(o, wants, known)
	if err != nil {
		return err
	}
	_, err = packfile.NewEncoder(w, o, false).Encode(wanted, 0)
	return err
}

// A command is what a push asks of one reference.
type command struct{ from, to, ref string }

// receive takes a push: its objects and its references are there together.
func (v *visit) receive(ctx context.Context, w io.Writer, body io.Reader) error {
	commands, err := readCommands(body)
	e := pktline.NewEncoder(w)
	if err != nil {
		return e.EncodeString("ERR " + err.Error())
	}
	o := newObjectStore(v.s.DB.View, v.repo.ID)
	unpacked := v.unpack(o, body, commands)
	report := "unpack ok\n"
	if unpacked != nil {
		report = "unpack " + unpacked.Error() + "\n"
	}
	results := make([]string, len(commands))
	err = v.s.change(ctx, v.repo.Name, func(tx *store.Tx, r *repository) error {
		if unpacked == nil {
			if err := o.save(tx); err != nil {
				return err
			}
		}
		for i, c := range commands {
			results[i] = "ok " + c.ref + "\n"
			refused := unpacked
			if refused == nil {
				refused = v.update(ctx, tx, r, o, c)
			}
			if refused != nil {
				results[i] = "ng " + c.ref + " " + refused.Error() + "\n"
			}
		}
		return nil
	})
	if err != nil {
		return e.EncodeString("ERR " + err.Error())
	}
	for _, line := range append([]string{report}, results...) {
		if err := e.EncodeString(line); err != nil {
			return err
		}
	}
	return e.Flush()
}

// readCommands reads up to the flush that the pack follows.
func readCommands(body io.Reader) (all []command, err error) {
	lines := pktline.NewScanner(body)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			return all, nil
		}
		line, _, _ := strings.Cut(strings.TrimSuffix(string(lines.Bytes()), "\n"), "\x00")
		f := strings.Fields(line)
		if len(f) != 3 || !isHash(f[0]) || !isHash(f[1]) {
			return nil, errors.New("malformed command")
		}
		all = append(all, command{f[0], f[1], f[2]})
	}
	return all, lines.Err()
}

var zero = plumbing.ZeroHash.String()

// unpack reads the pushed objects and checks that nothing is missing.
func (v *visit) unpack(o *objectStore, body io.Reader, commands []command) error {
	refs, err := v.heads()
	if err != nil {
		return err
	}
	var known, tips []plumbing.Hash
	for _, tip := range refs {
		known = append(known, plumbing.NewHash(tip))
	}
	for _, c := range commands {
		if c.to != zero {
			tips = append(tips, plumbing.NewHash(c.to))
		}
	}
	if len(tips) == 0 {
		return nil // nothing but deletions: no pack follows
	}
	pack, err := packfile.NewParserWithStorage(packfile.NewScanner(body), o)
	if err == nil {
		_, err = pack.Parse()
	}
	if err != nil && !errors.Is(err, packfile.ErrEmptyPackfile) {
		return fmt.Errorf("read pack: %w", err)
	}
	for _, h := range tips {
		c, err := object.GetCommit(o, h)
		if err != nil {
			return fmt.Errorf("%s is not a commit that is here or was sent", h)
		}
		all, err := o.files(c.TreeHash)
		if err != nil {
			return fmt.Errorf("missing objects: %w", err)
		}
		for p := range all {
			if err := checkPath(p); err != nil {
				return err
			}
		}
	}
	old, err := revlist.Objects(o, known, nil)
	if err == nil {
		_, err = revlist.Objects(o, tips, old)
	}
	if err != nil {
		return fmt.Errorf("missing objects: %w", err)
	}
	return nil
}

// update moves one branch, if it is where the pusher thinks it is.
func (v *visit) update(ctx context.Context, tx *store.Tx, r *repository, o *objectStore, c command) error {
	branch, ok := strings.CutPrefix(c.ref, refsHeads)
	if !ok || checkBranch(branch) != nil {
		return errors.New("only branches can be pushed")
	}
	if err := v.allow(ctx, "GitPush", c.ref); err != nil {
		return errors.New("not authorized")
	}
	tip, exists, err := branches.Get(tx, r.ID+"/"+branch)
	switch {
	case err != nil:
		return err
	case exists && tip != c.from, !exists && c.from != zero:
		return errors.New("fetch first")
	case c.to == zero && r.Default == branch:
		return errors.New("the default branch cannot be deleted")
	}
	m := move{Branch: branch}
	if exists {
		m.From = tip
	}
	if c.to != zero {
		m.To = c.to
	}
	return v.s.point(tx, v.call, r, m)
}
