package app

import "testing"

func TestPasswordsThatAreRefused(t *testing.T) {
	for _, s := range []string{
		"password", "Password", "PASSWORD1", "password123", "12345678", "123456789", "1234567890", "87654321", "qwertyuiop", "iloveyou", "sunshine1", "trustno1",
		"baseball", "football!", "princess12", "1q2w3e4r", "abcdefgh", "aaaaaaaa", "abababab", "12121212", "ｐａｓｓｗｏｒｄ", "letmein1", "superman",
		"latchkey", "Latchkey1!", "latch-key", "zoe.miller", "ZoeMiller42", "zoe miller", "Zoe Miller", "zoe.miller@example.com", "short", "\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		f := faults{}
		if f.password("password", s, "zoe.miller@example.com", "Zoe Miller"); f["password"] == "" {
			t.Errorf("%q is taken", s)
		}
	}
	f := faults{}
	if f.password("password", "+8618969190000", "+8618969190000", "Zoe"); f["password"] == "" {
		t.Error("the number is taken as the password")
	}
	for _, s := range []string{
		"a long password", "olga has a camera", "rita may look", "correct horse", "correct horse battery", "password one", "password two", "another one",
		"guess guess", "zoe miller walks home", "8f3k2p9x", "latchkeys are for doors", "пароль длинный", "長いパスワードです",
	} {
		f := faults{}
		if f.password("password", s, "zoe.miller@example.com", "Zoe Miller"); f.err() != nil {
			t.Errorf("%q is refused: %v", s, f)
		}
	}
	if n := len(commonWords()); n < 30_000 {
		t.Errorf("%d common words are known", n)
	}
}
