package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// appendXML writes v as <name>...</name>. Absent members are left out.
func (c *codec) appendXML(b *bytes.Buffer, name string, v reflect.Value, f *fieldPlan) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	t := v.Type()
	switch {
	case t == timeType:
		element(b, name, isoTime(v.Interface().(time.Time)))
	case isBytes(t):
		element(b, name, base64.StdEncoding.EncodeToString(v.Bytes()))
	case t.Kind() == reflect.Struct:
		b.WriteString("<" + name + ">")
		c.appendMembers(b, v, nil)
		b.WriteString("</" + name + ">")
	case t.Kind() == reflect.Slice:
		c.appendXMLList(b, name, v, f)
	case t.Kind() == reflect.Map:
		c.appendXMLMap(b, name, v)
	default:
		element(b, name, plainText(v))
	}
}

// appendMembers writes the members of a struct but those that skip names.
func (c *codec) appendMembers(b *bytes.Buffer, v reflect.Value, skip func(fieldPlan) bool) {
	p := c.plan(v.Type())
	for i := range p.fields {
		f := &p.fields[i]
		if fv := v.Field(f.index); !absent(fv) && (skip == nil || !skip(*f)) {
			c.appendXML(b, f.wire, fv, f)
		}
	}
}

func (c *codec) appendXMLList(b *bytes.Buffer, name string, v reflect.Value, f *fieldPlan) {
	item := "member"
	flat := false
	if f != nil {
		item, flat = f.item, f.flat
	}
	if flat {
		for i := range v.Len() {
			c.appendXML(b, name, v.Index(i), nil)
		}
		return
	}
	b.WriteString("<" + name + ">")
	for i := range v.Len() {
		c.appendXML(b, item, v.Index(i), nil)
	}
	b.WriteString("</" + name + ">")
}

func (c *codec) appendXMLMap(b *bytes.Buffer, name string, v reflect.Value) {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(x, y reflect.Value) int { return strings.Compare(x.String(), y.String()) })
	b.WriteString("<" + name + ">")
	for _, k := range keys {
		b.WriteString("<entry>")
		element(b, "key", k.String())
		c.appendXML(b, "value", v.MapIndex(k), nil)
		b.WriteString("</entry>")
	}
	b.WriteString("</" + name + ">")
}

func element(b *bytes.Buffer, name, text string) {
	b.WriteString("<" + name + ">")
	_ = xml.EscapeText(b, []byte(text)) // a Buffer takes everything
	b.WriteString("</" + name + ">")
}

// plainText is a scalar as it stands in XML, headers and query strings.
func plainText(v reflect.Value) string {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch {
	case v.Kind() == reflect.String:
		return v.String()
	case v.Kind() == reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case v.CanFloat():
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case v.CanInt():
		return strconv.FormatInt(v.Int(), 10)
	}
	return fmt.Sprint(v.Interface())
}

// decodeXML reads an XML document into v, a struct; the root's name is not checked.
func (c *codec) decodeXML(v reflect.Value, body []byte) (unknown []string, err error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	d := &xmlDecoder{c: c, Decoder: xml.NewDecoder(bytes.NewReader(body))}
	for {
		tok, err := d.Token()
		if err != nil {
			return nil, err
		}
		if _, ok := tok.(xml.StartElement); ok {
			break
		}
	}
	if err := d.value(alloc(v), nil, "", 0); err != nil {
		return nil, err
	}
	return d.unknown, nil
}

type xmlDecoder struct {
	*xml.Decoder
	c       *codec
	unknown []string
}

// value reads what is inside the element that was just opened, up to its end.
func (d *xmlDecoder) value(v reflect.Value, f *fieldPlan, path string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s is nested too deeply", path)
	}
	v = alloc(v)
	t := v.Type()
	switch {
	case t.Kind() == reflect.Struct && t != timeType:
		p := d.c.plan(t)
		return d.children(func(name string) error {
			f, ok := d.c.field(p, []byte(name))
			if !ok {
				d.unknown = append(d.unknown, path+"."+name)
				return d.Skip()
			}
			fv := v.Field(f.index)
			if f.flat && fv.Kind() == reflect.Slice {
				return d.element(fv, path+"."+name, depth)
			}
			return d.value(fv, f, path+"."+name, depth+1)
		})
	case t.Kind() == reflect.Slice && !isBytes(t):
		return d.children(func(string) error { return d.element(v, path, depth) })
	}
	text, err := d.text()
	if err != nil {
		return err
	}
	return setText(v, text, path)
}

// element appends one element to the slice v.
func (d *xmlDecoder) element(v reflect.Value, path string, depth int) error {
	e := reflect.New(v.Type().Elem()).Elem()
	if err := d.value(e, nil, path, depth+1); err != nil {
		return err
	}
	v.Set(reflect.Append(v, e))
	return nil
}

func (d *xmlDecoder) children(child func(name string) error) error {
	for {
		tok, err := d.Token()
		if err != nil {
			return unexpected(err)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if err := child(tok.Name.Local); err != nil {
				return err
			}
		case xml.EndElement:
			return nil
		}
	}
}

func (d *xmlDecoder) text() (string, error) {
	var b strings.Builder
	for {
		tok, err := d.Token()
		if err != nil {
			return "", unexpected(err)
		}
		switch tok := tok.(type) {
		case xml.CharData:
			b.Write(tok)
		case xml.StartElement:
			if err := d.Skip(); err != nil {
				return "", err
			}
		case xml.EndElement:
			return b.String(), nil
		}
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// An xmlBuffer is a document being written.
type xmlBuffer struct{ bytes.Buffer }

func (b *xmlBuffer) text(s string) { _ = xml.EscapeText(b, []byte(s)) } // a Buffer takes everything

// document writes a whole XML document with one root element.
func (c *codec) document(root string, inner func(*xmlBuffer), h map[string][]string) []byte {
	var b xmlBuffer
	b.WriteString(xml.Header)
	b.WriteString("<" + root)
	if c.api.Namespace != "" {
		b.WriteString(` xmlns="` + c.api.Namespace + `"`)
	}
	b.WriteString(">")
	inner(&b)
	b.WriteString("</" + root + ">")
	h["Content-Type"] = []string{"application/xml"}
	return b.Bytes()
}
