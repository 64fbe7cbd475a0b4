package codebuild

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
)

// A buildspec says what a build does.
// https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
type buildspec struct {
	Version any `yaml:"version"`
	Env     struct {
		Shell     string            `yaml:"shell"`
		Variables map[string]string `yaml:"variables"`
		Exported  []string          `yaml:"exported-variables"`
		Parameter map[string]string `yaml:"parameter-store"`
		Secrets   map[string]string `yaml:"secrets-manager"`
	} `yaml:"env"`
	Phases struct {
		Install   phase `yaml:"install"`
		PreBuild  phase `yaml:"pre_build"`
		Build     phase `yaml:"build"`
		PostBuild phase `yaml:"post_build"`
	} `yaml:"phases"`
	Artifacts outputs `yaml:"artifacts"`
}

// A phase is what a buildspec has done in one phase.
type phase struct {
	OnFailure string         `yaml:"on-failure"`
	Runtimes  map[string]any `yaml:"runtime-versions"`
	Commands  []string       `yaml:"commands"`
	Finally   []string       `yaml:"finally"`
}

// outputs are the files that a build hands on.
type outputs struct {
	Files     []string           `yaml:"files"`
	Name      string             `yaml:"name"`
	Discard   any                `yaml:"discard-paths"`
	Base      string             `yaml:"base-directory"`
	Exclude   []string           `yaml:"exclude-paths"`
	Secondary map[string]outputs `yaml:"secondary-artifacts"`
}

func (o outputs) discards() bool { return o.Discard == true || fmt.Sprint(o.Discard) == "yes" }

func parseBuildspec(text []byte) (*buildspec, error) {
	var b buildspec
	if err := yaml.Unmarshal(text, &b); err != nil {
		first, _, _ := strings.Cut(yaml.FormatError(err, false, false), "\n")
		return nil, fmt.Errorf("not valid YAML: %s", first)
	}
	switch v := strings.TrimSuffix(fmt.Sprint(b.Version), ".0"); v {
	case "0.1", "0.2":
	default:
		return nil, fmt.Errorf("unknown buildspec version: %v", b.Version)
	}
	if len(b.Env.Parameter)+len(b.Env.Secrets) > 0 {
		return nil, errors.New("this cloud has no parameter-store and no secrets-manager: use variables")
	}
	if s := b.Env.Shell; s != "" && s != "sh" && s != "bash" && s != "/bin/sh" && s != "/bin/bash" {
		return nil, fmt.Errorf("unknown shell: %s", s)
	}
	p := &b.Phases
	commands := 0
	for name, ph := range map[string]phase{"install": p.Install, "pre_build": p.PreBuild, "build": p.Build, "post_build": p.PostBuild} {
		if f := ph.OnFailure; f != "" && f != "ABORT" && f != "CONTINUE" {
			return nil, fmt.Errorf("phase %s: on-failure must be ABORT or CONTINUE, not %s", name, f)
		}
		commands += len(ph.Commands)
	}
	if commands == 0 {
		return nil, errors.New("it must have at least one phase with commands")
	}
	return &b, nil
}
