package pkgmgr

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// proxyFile is where the sandbox shows what apt is told of the proxy. It is a
// file of its own, because everybody can read the options of a running command.
const proxyFile = "/proxy.conf"

// Where sandboxes with the network show the certificates and the key for the
// proxy: ProxyPeerCertificate=, ProxyClientCertificate= and ProxyClientKey=.
const (
	ProxyCA          = "/proxy.cacert"
	ProxyCertificate = "/proxy.clientcert"
	ProxyKey         = "/proxy.clientkey"
)

// proxyOps show the proxy's configuration and certificates in the sandbox.
// They are for runs with the network only.
func (a *Apt) proxyOps() ([]sandbox.Op, error) {
	text, err := a.proxyConfig()
	if err != nil {
		return nil, err
	}
	ops := []sandbox.Op{sandbox.WriteFile(proxyFile, text, 0o600)}
	for _, f := range []struct{ source, target string }{
		{a.ProxyCA, ProxyCA},
		{a.ProxyCertificate, ProxyCertificate},
		{a.ProxyKey, ProxyKey},
	} {
		if f.source != "" {
			ops = append(ops, sandbox.BindReadOnly(f.source, f.target))
		}
	}
	return ops, nil
}

// proxyConfig is the proxy's part of apt's configuration, in the syntax of
// apt.conf(5). The names are those of apt-transport-http(1) and
// apt-transport-https(1).
func (a *Apt) proxyConfig() ([]byte, error) {
	var text []byte
	set := func(name, value string) {
		if value != "" {
			text = fmt.Appendf(text, "%s \"%s\";\n", name, value)
		}
	}
	// A quoted string knows no escapes.
	if strings.ContainsFunc(a.Proxy, func(c rune) bool { return c <= ' ' || c == '"' || c == '\\' || c == 0x7f }) {
		return nil, fmt.Errorf("the proxy %q has a quote, backslash or space in it: write it as %%22, %%5C or %%20", redact(a.Proxy))
	}
	for _, scheme := range []string{"http", "https"} {
		set("Acquire::"+scheme+"::Proxy", a.Proxy)
		for _, host := range a.ProxyExclude {
			if host == "" || strings.ContainsFunc(host, notInHost) {
				return nil, fmt.Errorf("%q, which the proxy is not for, is not the name of a host", host)
			}
			set("Acquire::"+scheme+"::Proxy::"+host, "DIRECT")
		}
	}
	if a.ProxyCA != "" {
		set("Acquire::https::CaInfo", ProxyCA)
	}
	if a.ProxyCertificate != "" {
		set("Acquire::https::SslCert", ProxyCertificate)
	}
	if a.ProxyKey != "" {
		set("Acquire::https::SslKey", ProxyKey)
	}
	return text, nil
}

// notInHost tells the characters that are neither in a host's name nor in an
// address, and might mean something in apt's configuration.
func notInHost(c rune) bool {
	switch {
	case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		return false
	}
	return !strings.ContainsRune("-._:*[]", c)
}

var userinfo = regexp.MustCompile(`(://)[^/\s]*@`)

// redact takes user names and passwords out of the URLs in a text.
func redact(text string) string { return userinfo.ReplaceAllString(text, "${1}***@") }
