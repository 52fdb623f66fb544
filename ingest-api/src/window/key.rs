//! The key of a window: what makes its subjects, and seals its records. Pure.

use std::sync::Arc;

use aes::Aes256Enc;
use aes::cipher::BlockCipherEncrypt;
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, AeadInOut};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The key of one window. Overwritten in memory when its last clone is dropped, by the feature `zeroize` of what it is made of.
#[derive(Clone)]
pub struct WindowKey(Arc<Parts>);

/// What is made of the key: the two ciphers of keys of their own, which follow from it.
struct Parts {
    /// For subjects: AES-256, as a pseudorandom function of one block.
    block_cipher: Aes256Enc,
    /// For what waits to be merged.
    cipher: XChaCha20Poly1305,
    /// For check values.
    hmac: Hmac<Sha256>,
}

impl std::fmt::Debug for WindowKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WindowKey[redacted]")
    }
}

/// Does not compile if the two hashes that an HMAC is made of, or a cipher, would stay in memory.
const _: () = {
    const fn is_overwritten<T: ZeroizeOnDrop>() {}
    is_overwritten::<Sha256>();
    is_overwritten::<Aes256Enc>();
    is_overwritten::<XChaCha20Poly1305>();
};

impl WindowKey {
    /// Its length in bytes.
    pub const LEN: usize = 32;

    /// Length of the number that [`Self::encrypt`] uses once, in bytes.
    pub(crate) const NONCE_LEN: usize = 24;
    /// How much longer than a message is what [`Self::encrypt`] makes of it, in bytes.
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

    /// 64 bits that only this key gives for an identifier, and that tell nothing about either.
    pub fn tag(&self, id: &[u8; 8]) -> i64 {
        // There is one for each.
        self.tags([*id])[0]
    }

    /// The [tags](Self::tag) of some identifiers, in their order: before the first block, AES spreads the key over the registers,
    /// which takes as long as a dozen blocks.
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

    /// Encrypts what follows the nonce that some bytes begin with, so that it can neither be read nor changed without this key,
    /// and adds a tag. The nonce is drawn by lot: there are so many that none comes twice.
    ///
    /// # Panics
    /// Never, if there is a nonce: a message is far shorter than 256 GiB.
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

/// The number that the first eight bytes are, big-endian.
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

    /// Computed once with Python's `hmac` and `cryptography`. Whatever changes them counts everybody in an open window twice.
    #[test]
    fn what_a_key_gives_is_what_it_gave_before() {
        let key = WindowKey::new(&[7; WindowKey::LEN]);
        let id = [1, 2, 3, 4, 5, 6, 7, 8];
        let given = [key.tag(&id), key.check()];
        let known = ["76c8b52b45da2c5a", "af01fe35ef545674"];
        assert_eq!(given.map(|number| format!("{number:016x}")), known);
    }
}
