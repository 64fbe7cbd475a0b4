package wire

import "sync"

// maxSigningKeys bounds the signing keys that are kept. A key is good for a day
// of one service in one region.
const maxSigningKeys = 1024

// signingKeys keeps what is derived from secrets, as SDKs do on their side: the
// same few sign every request. It grants nothing: whose secret it is, and that
// there still is such a key, is asked for each request. The zero value is ready.
type signingKeys struct {
	mu   sync.RWMutex
	kept map[signingScope][]byte
}

// A signingScope is all that a signing key depends on.
type signingScope struct{ secret, date, region, service string }

// of returns the signing key of a secret for the scope of a signature.
func (k *signingKeys) of(secret string, s scope) []byte {
	k.mu.RLock()
	key := k.kept[signingScope{secret, s.date, s.region, s.service}]
	k.mu.RUnlock()
	if key != nil {
		return key
	}
	key = mac([]byte("AWS4"+secret), s.date)
	key = mac(key, s.region)
	key = mac(key, s.service)
	return mac(key, "aws4_request")
}

// keep has a key known the next time. Only one of a signature that holds is
// worth it: nobody else can push it out.
func (k *signingKeys) keep(secret string, s scope, key []byte) {
	at := signingScope{secret, s.date, s.region, s.service}
	k.mu.RLock()
	_, known := k.kept[at]
	k.mu.RUnlock()
	if known {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept == nil || len(k.kept) >= maxSigningKeys {
		k.kept = map[signingScope][]byte{}
	}
	k.kept[at] = key
}
