package keys

import (
	"net/url"
	"slices"
	"strings"
)

// splitPIN takes the PIN out of a pkcs11: URI (RFC 7512, section 2.4, pin-value) and returns the rest, which may be shown
// and be an argument of a program. The PIN is nil when there is none; anything but such a URI is returned as it is.
func splitPIN(name string) (uri string, pin []byte) {
	path, query, ok := strings.Cut(name, "?")
	if !ok || !isTokenURI(name) {
		return name, nil
	}
	attributes := strings.Split(query, "&")
	attributes = slices.DeleteFunc(attributes, func(a string) bool {
		value, ok := strings.CutPrefix(a, "pin-value=")
		if !ok {
			return false
		}
		// A PIN that is not encoded as it ought to be may still be the one that is meant.
		if decoded, err := url.PathUnescape(value); err == nil {
			value = decoded
		}
		pin = []byte(value)
		return true
	})
	if len(attributes) == 0 {
		return path, pin
	}
	return path + "?" + strings.Join(attributes, "&"), pin
}

// withoutPIN returns the name of a key or certificate as it may be shown.
func withoutPIN(name string) string {
	uri, _ := splitPIN(name)
	return uri
}

func isTokenURI(name string) bool {
	return len(name) >= len("pkcs11:") && strings.EqualFold(name[:len("pkcs11:")], "pkcs11:")
}

// lacksPIN reports whether a URI says nothing of where its PIN is.
func lacksPIN(uri string, pin []byte) bool {
	_, query, _ := strings.Cut(uri, "?")
	return isTokenURI(uri) && len(pin) == 0 && !strings.Contains("&"+query, "&pin-source=")
}
