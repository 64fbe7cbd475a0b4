// Package jsontext writes JSON onto a buffer, to the byte as encoding/json does
// and without its reflection: for documents that are made for every request.
package jsontext

import "unicode/utf8"

// AppendString appends s in quotes, as [encoding/json.Encoder] writes it with
// or without HTML escapes. AWS's services do not escape HTML; what is written by
// [encoding/json.Marshal] elsewhere does. Bytes that are no character become \ufffd.
func AppendString(b []byte, s string, escapeHTML bool) []byte {
	b = append(b, '"')
	done := 0 // what is before it is written
	for i := 0; i < len(s); {
		if plain[s[i]] {
			i++
			continue
		}
		ch, size := rune(s[i]), 1
		if ch >= utf8.RuneSelf {
			ch, size = utf8.DecodeRuneInString(s[i:])
		}
		if escaped(ch, size, escapeHTML) {
			b = appendEscape(append(b, s[done:i]...), ch)
			done = i + size
		}
		i += size
	}
	return append(append(b, s[done:]...), '"')
}

// plain are the bytes that are always written as they are.
var plain = func() (is [utf8.RuneSelf * 2]bool) {
	for ch := rune(' '); ch < utf8.RuneSelf; ch++ {
		is[ch] = !escaped(ch, 1, true)
	}
	return is
}()

// escaped tells the characters that are not written as they are, among them
// bytes that are no character at all.
func escaped(ch rune, size int, escapeHTML bool) bool {
	switch ch {
	case '"', '\\', '\u2028', '\u2029': // the last two end a line in JavaScript
		return true
	case '<', '>', '&':
		return escapeHTML
	case utf8.RuneError:
		return size == 1
	}
	return ch < ' '
}

func appendEscape(b []byte, ch rune) []byte {
	const hexDigits = "0123456789abcdef"
	switch ch {
	case '"', '\\':
		return append(b, '\\', byte(ch))
	case '\b':
		return append(b, `\b`...)
	case '\f':
		return append(b, `\f`...)
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	}
	return append(b, '\\', 'u', hexDigits[ch>>12&15], hexDigits[ch>>8&15], hexDigits[ch>>4&15], hexDigits[ch&15])
}
