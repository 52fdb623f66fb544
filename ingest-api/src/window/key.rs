//! The key of a window: it makes the window's subjects, and seals its records. Pure.

use std::sync::Arc;

use aes::Aes256Enc;
use aes::cipher::BlockCipherEncrypt;
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, AeadInOut};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The key of one window. The feature `zeroize` of its parts overwrites it in memory when its last clone is
/// dropped.
#[derive(Clone)]
pub struct WindowKey(Arc<Parts>);

/// The ciphers that are derived from the key, each with a key of its own.
struct Parts {
    /// For subjects: AES-256, as a pseudorandom function of one block.
    block_cipher: Aes256Enc,
    /// For pieces that wait to be merged.
    cipher: XChaCha20Poly1305,
    /// For check values.
    hmac: Hmac<Sha256>,
}

impl std::fmt::Debug for WindowKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WindowKey[redacted]")
    }
}

/// Fails to compile if a cipher, or one of the two hash states of the HMAC, is not zeroed on drop.
const _: () = {
    const fn is_overwritten<T: ZeroizeOnDrop>() {}
    is_overwritten::<Sha256>();
    is_overwritten::<Aes256Enc>();
    is_overwritten::<XChaCha20Poly1305>();
};

impl WindowKey {
    /// The length of a key, in bytes.
    pub const LEN: usize = 32;

    /// The length of the nonce of [`Self::encrypt`], in bytes.
    pub(crate) const NONCE_LEN: usize = 24;
    /// How many bytes [`Self::encrypt`] adds to a message.
    pub(crate) const TAG_LEN: usize = 16;

    pub(crate) fn new(bytes: &[u8; Self::LEN]) -> Self {
        let hmac = Hmac::<Sha256>::new_from_slice(bytes).expect("HMAC takes a key of any length");
        let derived = |purpose: &[u8]| hmac.clone().chain_update(purpose).finalize().into_bytes();
        let (mut sealing, mut re_keying) =
            (derived(b"sealing of the window"), derived(b"subjects of the window"));
        let (cipher, block_cipher) = (XChaCha20Poly1305::new(&sealing), Aes256Enc::new(&re_keying));
        sealing.zeroize();
        re_keying.zeroize();
        Self(Arc::new(Parts { block_cipher, cipher, hmac }))
    }

    /// A 64-bit value for an identifier. Only this key gives it, and it says nothing about either of them.
    pub fn tag(&self, id: &[u8; 8]) -> i64 {
        // One tag for each identifier.
        self.tags([*id])[0]
    }

    /// The [tags](Self::tag) of identifiers, in their order. Faster than one by one: loading the AES key
    /// takes as long as a dozen blocks.
    pub fn tags(&self, ids: impl IntoIterator<Item = [u8; 8]>) -> Vec<i64> {
        let block = |id: [u8; 8]| {
            let mut block = [0; 16];
            block[..8].copy_from_slice(&id);
            block.into()
        };
        let mut blocks: Vec<_> = ids.into_iter().map(block).collect();
        self.0.block_cipher.encrypt_blocks(&mut blocks);
        blocks.iter().map(|block| first_8(block)).collect()
    }

    /// A number that only this key gives, and that says nothing about the key.
    pub fn check(&self) -> i64 {
        let message = b"key check of the window, subjects by AES";
        first_8(&self.0.hmac.clone().chain_update(message).finalize().into_bytes())
    }

    /// Encrypts and authenticates in place: `bytes` begin with a random nonce, the message follows, and a tag
    /// is appended. Random nonces of this length do not repeat in practice.
    ///
    /// # Panics
    /// Only without a nonce. The message is far shorter than 256 GiB, the cipher's limit.
    pub(crate) fn encrypt(&self, bytes: &mut Vec<u8>) {
        let (nonce, message) = bytes.split_first_chunk_mut::<{ Self::NONCE_LEN }>().expect("a nonce");
        let tag = self.0.cipher.encrypt_inout_detached((&*nonce).into(), &[], message.into());
        bytes.extend_from_slice(&tag.expect("a message is far shorter than 256 GiB"));
    }

    /// The message, if it was encrypted with this key and this nonce.
    pub(crate) fn decrypt(&self, nonce: &[u8; Self::NONCE_LEN], sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.cipher.decrypt(nonce.into(), sealed).ok()
    }
}

/// The first eight bytes as a number, big-endian.
fn first_8(bytes: &[u8]) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&bytes[..8]);
    i64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tags_of_many_are_those_of_each() {
        let ids = (0..100_u64).map(u64::to_be_bytes);
        let key = WindowKey::new(&[7; WindowKey::LEN]);
        for many in [0, 1, 7, 64, 100] {
            let one_by_one: Vec<_> = ids.clone().take(many).map(|id| key.tag(&id)).collect();
            assert_eq!(key.tags(ids.clone().take(many)), one_by_one);
        }
    }

    /// Computed once with Python's `hmac` and `cryptography`. A change would count all reporters of an open
    /// window twice.
    #[test]
    fn what_a_key_gives_is_what_it_gave_before() {
        let key = WindowKey::new(&[7; WindowKey::LEN]);
        let id = [1, 2, 3, 4, 5, 6, 7, 8];
        let given = [key.tag(&id), key.check()];
        let known = ["76c8b52b45da2c5a", "af01fe35ef545674"];
        assert_eq!(given.map(|number| format!("{number:016x}")), known);
    }
}
