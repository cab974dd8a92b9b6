package pcr

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// testImage has every section that is measured, each with a text of its own.
func testImage(t testing.TB) Image {
	t.Helper()
	m := Image{}
	for _, name := range sections {
		if name == ".efifw" {
			continue
		}
		h := NewHasher(Banks())
		if _, err := h.Write([]byte("content of " + name)); err != nil {
			t.Fatal(err)
		}
		m[name] = h.Digests()
	}
	return m
}

// TestValue compares with what systemd-measure calculate says about the same
// sections.
func TestValue(t *testing.T) {
	m := testImage(t)
	for _, tt := range []struct{ bank, path, want string }{
		{"sha256", "", "325ab154b6caf71b91eaefa1f919c19cde286adef46815089a247173f646c3c2"},
		{"sha256", ":", "325ab154b6caf71b91eaefa1f919c19cde286adef46815089a247173f646c3c2"},
		{"sha256", "enter-initrd", "2d9b9a230bbb1cd8dfdf8783af895a2f5c5435f117bc4bc67febaa489c624cf0"},
		{"sha256", "enter-initrd:leave-initrd", "8371d3fea8d13d8df7c6eb931c06fc703bcbc13658adc312048034be818c1642"},
		{"sha256", "enter-initrd:leave-initrd:sysinit", "b06f9c79340b658a07b24309985bda1fe90777011108080c7ea771d266404823"},
		{"sha256", "enter-initrd:leave-initrd:sysinit:ready", "ac8868328afa2000389f500d36fa470ff7003a44cd143453a646b8b44857692e"},
		{"sha1", "enter-initrd:leave-initrd", "0c0da77f1b3632d35edb223963088d454421f1ff"},
		{"sha384", "enter-initrd:leave-initrd", "398bcc0605ed52ae588e192ee8600a97ae7d49c6624553ceb89d99a1d5b969eca4619d74da330136b900ab1cc0802b8f"},
		{"sha512", "enter-initrd:leave-initrd", "4673bad4c3db08786819e66b1d0c5138cdbdba97411bc7c03c411702af2f9d7cae9a5c3b469be9448030dc35cf0f359f287ef4ff653422ccac54839fee8762f2"},
	} {
		bank, err := ParseBank(tt.bank)
		if err != nil {
			t.Fatal(err)
		}
		value, err := m.Value(bank, tt.path)
		if err != nil || hex.EncodeToString(value) != tt.want {
			t.Errorf("%s %q: %x, want %s: %v", tt.bank, tt.path, value, tt.want, err)
		}
	}
	// Firmware comes last.
	h := NewHasher(Banks())
	h.Write([]byte("x"))
	m[".efifw"] = h.Digests()
	if value, err := m.Value(Banks()[1], ""); err != nil || hex.EncodeToString(value) != "560daa9fbca379401afef6b693b2ec0fa52ce198e875af68940cb5d124cf7b0f" {
		t.Errorf("with firmware: %x: %v", value, err)
	}
}

func TestValueLeavesOut(t *testing.T) {
	m := testImage(t)
	want, err := m.Value(Banks()[1], "")
	if err != nil {
		t.Fatal(err)
	}
	more := maps.Clone(m)
	h := NewHasher(Banks())
	h.Write([]byte("signatures"))
	more[".pcrsig"], more[".text"] = h.Digests(), h.Digests()
	more[".efifw"] = NewHasher(Banks()).Digests() // an empty section
	if got, err := more.Value(Banks()[1], ""); err != nil || !slices.Equal(got, want) {
		t.Errorf("%x, want %x: %v", got, want, err)
	}
	few := NewHasher(Banks()[:1])
	few.Write([]byte("x"))
	more[".dtb"] = few.Digests()
	if _, err := more.Value(Banks()[1], ""); err == nil || !strings.Contains(err.Error(), ".dtb") {
		t.Errorf("a section without a digest: %v", err)
	}
	if Measured(".pcrsig") || !Measured(".sbat") {
		t.Error("wrong sections are measured")
	}
	if _, err := ParseBank("md5"); err == nil {
		t.Error("bank md5 was accepted")
	}
}

// TestPolicyDigest compares with what systemd-measure policy-digest says.
func TestPolicyDigest(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	list, err := testImage(t).Policies(Options{Banks: Banks()[:2], Phases: []string{"sysinit"}, Initrd: true, PublicKey: key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	const ref = "09e6c018d2c8c4903308613dd1b72484d57eadf12ec50ddc8f52e5accce470f2"
	for bank, want := range map[string]string{
		"sha1":   "05c8d91adb9f7a497f1f97043c94c4c34156b6a1bd8fd4c2624f38fa6a56449d",
		"sha256": "83061e7a08a70af655ce29bd33c2f76839261099182d0379b29923a90b6c712d",
	} {
		if len(list[bank]) != 2 {
			t.Fatalf("%s: %+v", bank, list[bank])
		}
		p := list[bank][1]
		if p.Ref != "initrd" || hex.EncodeToString(p.Digest) != want || hex.EncodeToString(p.Signed()) != want+ref || p.Signature != nil {
			t.Errorf("%s: %+v", bank, p)
		}
		if q := list[bank][0]; q.Ref != "" || !slices.Equal(q.Signed(), q.Digest) {
			t.Errorf("%s: %+v", bank, q)
		}
	}
}

func TestSign(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, signer := range map[string]crypto.Signer{"RSA": key, "EC": curve} {
		o := Options{Banks: Banks(), Initrd: true, Key: signer, PublicKey: "ignored"}
		list, err := testImage(t).Policies(o)
		if err != nil {
			t.Fatal(err)
		}
		again, err := testImage(t).Policies(o)
		if err != nil {
			t.Fatal(err)
		}
		other := crypto.Signer(key)
		if name == "RSA" {
			other = curve
		}
		for _, bank := range Banks() {
			if len(list[bank.Name]) != 5 {
				t.Errorf("%s: %d policies for %s", name, len(list[bank.Name]), bank.Name)
			}
			if !reflect.DeepEqual(list[bank.Name], again[bank.Name]) {
				t.Errorf("%s: the same policies for %s are signed differently", name, bank.Name)
			}
			for _, p := range list[bank.Name] {
				if err := p.Verify(signer.Public()); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if err := p.Verify(other.Public()); err == nil {
					t.Errorf("%s: signed by another key", name)
				}
				p.Digest = slices.Repeat([]byte{1}, 32)
				if err := p.Verify(signer.Public()); err == nil {
					t.Errorf("%s: another policy was signed", name)
				}
			}
		}
	}
	list, err := testImage(t).Policies(Options{Banks: Banks()[:2], Initrd: true, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	sha256 := Banks()[1]
	check := func(m Image, change func(p *Policy)) error {
		policies := slices.Clone(list["sha256"])
		change(&policies[4])
		return m.CheckPolicies(sha256, policies, key.Public())
	}
	if err := check(testImage(t), func(*Policy) {}); err != nil {
		t.Error(err)
	}
	less := testImage(t)
	delete(less, ".uname")
	for want, err := range map[string]error{
		"policy 5 is not signed":      check(testImage(t), func(p *Policy) { p.Signature = nil }),
		"policy 5 is for another":     check(testImage(t), func(p *Policy) { p.Digest = list["sha1"][0].Digest }),
		"policy 5: crypto/rsa":        check(testImage(t), func(p *Policy) { p.Ref = "other" }),
		"policy 1 is for another":     check(less, func(*Policy) {}),
		"policy 1: the policy names ": testImage(t).CheckPolicies(sha256, list["sha256"], curve.Public()),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", want, err)
		}
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := testImage(t).Policies(Options{Banks: Banks(), Key: ed}); err == nil || !strings.Contains(err.Error(), "ed25519") {
		t.Errorf("an Ed25519 key: %v", err)
	}
	if _, err := testImage(t).Policies(Options{Banks: Banks()}); err == nil {
		t.Error("policies without a key")
	}
}

// TestFingerprint compares with what systemd-measure names keys by.
func TestFingerprint(t *testing.T) {
	for text, want := range map[string]string{
		"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEDq7pc+NstlrflIlja9Digt8PzOXI\nCqmrtItSOHPAjThgo8yuqW9F37JD/Cg6CtSI/uTN5KWVcdVSrikh26CSVg==\n-----END PUBLIC KEY-----\n": "844dac4fc5e1ab0039a0e177932f95e4b45068a5949b319367d1ec3fec98a383",
		"-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAyLwrwVZDsFyWAH6WEO4l\nOa1Ei53V+DN0I4AtVrq/TpIb5bcT8dDWPSDEEfAbTnCz8haLcaMMJLP3Y3gwj5mO\nG1B1lRmrTp+StvMg9jmCwftGBP9Y0p11BOpRQVMkItvev3WJW7kKuq9u4AU8PqD3\n3rHySJtu47gVPJ5Tv8Hc42WuvSDGjFn6qHFnic29koFUrlBCJ0WOPI1DYPT6pjeU\nPpiI04z/cBuIW61mK66bcv+tXviEK7719yQ0Z5Voqpn2NHladJxGj/RLXLH8S1hd\nWDoFHCO1Hx6V2dMfB9MuHGM/7QwCk/4LXETCcqAys8LPcq3iyjOii092C47i6kFt\nFQIDAQAB\n-----END PUBLIC KEY-----\n": "672e7b32f6777595a4a903ba47107b42c8cceafa4d440924e0b8208a5ce5f858",
	} {
		block, _ := pem.Decode([]byte(text))
		if block == nil {
			t.Fatalf("no key in %q", text)
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Fingerprint(key); err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%x, want %s: %v", got, want, err)
		}
		if back, err := PublicKeyPEM(key); err != nil || back != text {
			t.Errorf("%q, want %q: %v", back, text, err)
		}
	}
}

func TestText(t *testing.T) {
	list := Policies{}
	a := Policy{Fingerprint: []byte{1, 2}, Digest: []byte{3, 4}, Signature: []byte("sig")}
	b := Policy{Fingerprint: []byte{1, 2}, Digest: []byte{3, 4}, Ref: `in"it`}
	list.add("sha512", a)
	list.add("sha1", a)
	list.add("sha1", b)
	list.add("sha1", a)
	const want = `{"sha1": [{"pcrs": [11], "pkfp": "0102", "pol": "0304", "sig": "c2ln"}, ` +
		`{"pcrs": [11], "pkfp": "0102", "ref": "in\"it", "pol": "0304", "tbs": "0304` +
		`1c371b3511abdb0cd9a2e77e1f784614ef716b5800856c5ab2d960394b8fadf7"}], "sha512": [{"pcrs": [11], "pkfp": "0102", "pol": "0304", "sig": "c2ln"}]}`
	if got := list.Text(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	section := list.Section()
	if len(section) != len(list.Text())+1024 || strings.TrimRight(section, " ") != list.Text() {
		t.Errorf("section %q", section)
	}
	back, err := ParsePolicies([]byte(section + "\x00\x00"))
	if err != nil || back.Text() != list.Text() {
		t.Errorf("read back %s: %v", back.Text(), err)
	}
	more := Policies{"sha1": {b, {Digest: []byte{9}}}, "sha256": {a}}
	back.Merge(more)
	if len(back["sha1"]) != 3 || len(back["sha256"]) != 1 || len(back["sha512"]) != 1 {
		t.Errorf("merged %s", back.Text())
	}
}

func TestParsePolicies(t *testing.T) {
	list, err := ParsePolicies([]byte(`{"sha256": [{"pcrs": [7], "pol": "00"}, {"pcrs": [11], "pol": "01"}], "sm3": [{"pcrs": [11]}], "extra": []}`))
	if err != nil || len(list) != 1 || len(list["sha256"]) != 1 || list["sha256"][0].Digest[0] != 1 {
		t.Errorf("%+v: %v", list, err)
	}
	for _, text := range []string{
		``, `[]`, `{"sha256": {}}`, `{"sha256": [{"pcrs": [11], "pol": "xy"}]}`, `{"sha256": [{"pcrs": [11], "pkfp": "1"}]}`,
		`{"sha256": [{"pcrs": [11], "sig": "*"}]}`, strings.Repeat(" ", MaxText+1),
		`{"sha256": [` + strings.Repeat(`{},`, maxPolicies) + `{}]}`,
	} {
		if list, err := ParsePolicies([]byte(text)); err == nil {
			t.Errorf("%.40q: read as %+v", text, list)
		}
	}
}

// FuzzParsePolicies reads anything: what is accepted is the same when it is
// written and read again.
func FuzzParsePolicies(f *testing.F) {
	f.Add([]byte(`{"sha256": [{"pcrs": [11], "pkfp": "0102", "ref": "initrd", "pol": "0304", "sig": "c2ln"}]}   `))
	f.Add([]byte(`{"sha1": [{"pcrs": [11], "pol": "0304", "tbs": "0304"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := ParsePolicies(text)
		if err != nil {
			return
		}
		back, err := ParsePolicies([]byte(list.Section()))
		if err != nil || back.Text() != list.Text() {
			t.Errorf("%q became %q: %v", list.Text(), back.Text(), err)
		}
	})
}
