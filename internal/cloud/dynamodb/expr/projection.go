package expr

// Projection reads a projection expression.
func (s *Scope) Projection(text string) (*Projection, error) {
	const k = ProjectionExpression
	paths, _, err := parse(k, text, func(p *parser) []Path {
		list := []Path{p.path()}
		for p.accept(",") {
			list = append(list, p.path())
		}
		return list
	})
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		if err := unreservedPath(k, p); err != nil {
			return nil, err
		}
	}
	for _, p := range paths {
		if err := s.resolvePath(k, p); err != nil {
			return nil, err
		}
	}
	if err := k.disjoint(paths); err != nil {
		return nil, err
	}
	return NewProjection(paths), nil
}
