package iso20022

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
)

// Bounds of a message. Parse refuses more before it looks at what the message says.
const (
	MaxSize       = 1 << 20 // bytes
	MaxDepth      = 32      // elements within elements
	MaxElements   = 10_000
	MaxAttributes = 16 // of one element, namespaces included
)

const schemaInstance = "http://www.w3.org/2001/XMLSchema-instance"

// element is one element of a message, its text and what lies in it.
type element struct {
	parent      *element
	space, name string
	repeats     bool // its schema allows more than one
	attributes  []xml.Attr
	text        string
	children    []*element
}

// path is the place of e: the names from the root, with an index where there may be more of
// the name, such as "/Document/FIToFICstmrCdtTrf/CdtTrfTxInf[1]/PmtId/UETR".
func (e *element) path() string {
	if e == nil {
		return ""
	}
	index, of := 1, 0
	if e.parent != nil {
		for _, c := range e.parent.children {
			if c == e {
				index = of + 1
			}
			if c.name == e.name {
				of++
			}
		}
	}
	if e.repeats || of > 1 {
		return fmt.Sprintf("%s/%s[%d]", e.parent.path(), e.name, index)
	}
	return e.parent.path() + "/" + e.name
}

// at is the first element on the path of names below e, or nil. It takes a nil element.
func (e *element) at(names ...string) *element {
	for _, name := range names {
		e = e.child(name)
	}
	return e
}

func (e *element) child(name string) *element {
	if e != nil {
		for _, c := range e.children {
			if c.name == name {
				return c
			}
		}
	}
	return nil
}

// all is the children of e with that name.
func (e *element) all(name string) []*element {
	var found []*element
	if e != nil {
		for _, c := range e.children {
			if c.name == name {
				found = append(found, c)
			}
		}
	}
	return found
}

// textAt is the text of the element at the path of names, or "".
func (e *element) textAt(names ...string) string {
	if e = e.at(names...); e == nil {
		return ""
	}
	return e.text
}

// treeReader builds the tree of one document. Text stands in leaves alone, so one buffer
// serves all.
type treeReader struct {
	root, open   *element
	depth, count int
	text         []byte
}

// parseTree reads one well-formed document without document type, processing instruction or
// entity of its own.
func parseTree(raw []byte) (*element, error) {
	if len(raw) > MaxSize {
		return nil, fault(CodeTooLarge, reasonFormat, "", "the message has %d bytes, at most %d are read",
			len(raw), MaxSize)
	}
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	d := xml.NewDecoder(bytes.NewReader(raw))
	var r treeReader
	for {
		at := d.InputOffset()
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			f := fault(CodeMalformed, reasonFormat, r.open.path(), "the message is not well-formed UTF-8 XML")
			f.Err = err
			return nil, f
		}
		if err := r.take(token, at); err != nil {
			return nil, err
		}
	}
	if r.root == nil {
		return nil, fault(CodeMalformed, reasonFormat, "", "the message is empty")
	}
	return r.root, nil
}

func (r *treeReader) take(token xml.Token, at int64) error {
	switch t := token.(type) {
	case xml.StartElement:
		return r.start(t)
	case xml.EndElement:
		return r.end()
	case xml.CharData:
		if r.open == nil && !blank(t) {
			return fault(CodeMalformed, reasonFormat, "", "text stands outside the root element")
		}
		r.text = append(r.text, t...)
	case xml.ProcInst:
		if t.Target != "xml" || at != 0 {
			return fault(CodeForbidden, reasonFormat, r.open.path(), "no processing instruction is read")
		}
	case xml.Directive:
		return fault(CodeForbidden, reasonFormat, r.open.path(), "no document type is read")
	case xml.Comment:
	}
	return nil
}

func (r *treeReader) start(t xml.StartElement) error {
	if r.open == nil && r.root != nil {
		return fault(CodeMalformed, reasonFormat, "", "the message has a second root element")
	}
	if !blank(r.text) {
		return fault(CodeMalformed, reasonFormat, r.open.path(), "text stands between elements")
	}
	r.text = r.text[:0]
	e := &element{parent: r.open, space: t.Name.Space, name: t.Name.Local}
	if r.open == nil {
		r.root = e
	} else {
		r.open.children = append(r.open.children, e)
	}
	r.open = e
	r.depth++
	r.count++
	if r.depth > MaxDepth || r.count > MaxElements || len(t.Attr) > MaxAttributes {
		return fault(CodeTooLarge, reasonFormat, "",
			"at most %d elements, %d deep, of %d attributes are read", MaxElements, MaxDepth, MaxAttributes)
	}
	return e.takeAttributes(t.Attr)
}

func (r *treeReader) end() error {
	e := r.open
	if len(e.children) == 0 {
		e.text = string(r.text)
	} else if !blank(r.text) {
		return fault(CodeMalformed, reasonFormat, e.path(), "text stands between elements")
	}
	r.text = r.text[:0]
	r.open = e.parent
	r.depth--
	return nil
}

// takeAttributes keeps the attributes that are neither namespaces nor hints where a schema is,
// and refuses a repeated one, which encoding/xml does not.
func (e *element) takeAttributes(attributes []xml.Attr) error {
	for i, a := range attributes {
		for _, b := range attributes[:i] {
			if a.Name == b.Name {
				return fault(CodeAttribute, reasonFormat, e.path()+"/@"+a.Name.Local, "the same twice")
			}
		}
		namespace := a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns"
		hint := a.Name.Space == schemaInstance &&
			(a.Name.Local == "schemaLocation" || a.Name.Local == "noNamespaceSchemaLocation")
		if !namespace && !hint {
			e.attributes = append(e.attributes, a)
		}
	}
	return nil
}

// blank tells whether s is nothing but XML white space.
func blank[T ~string | ~[]byte](s T) bool {
	for _, c := range []byte(s) {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}
