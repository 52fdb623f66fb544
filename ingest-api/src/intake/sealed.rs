//! [`Rows`] of one window ⇄ sealed pieces: what the database holds of them until they are merged.
//!
//! A piece is a nonce of 24 bytes, then records, encrypted and authenticated together by XChaCha20-Poly1305 under a key that
//! follows from the window's. Without that key, a piece tells how long it is and nothing else. A record is a byte that says
//! what it is, and the numbers of a row in the order of their declaration, big-endian.

use rand::Rng;

use super::rekey::{InstallationRow, PodRow, Rows, Subject};
use crate::keys::WindowKey;

/// How long a piece may be, in bytes: with the heads of its row and its page, four lie in a page of Postgres, and none is moved
/// out of its table (PostgreSQL manual, "TOAST").
const MAX_PIECE: usize = 2_000;

const POD: u8 = 0;
const DIRECT_INSTALLATION: u8 = 1;
const PROXIED_INSTALLATION: u8 = 2;

/// What was to be opened is not a piece that this key has sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a piece was not sealed with the key of its window")]
pub struct NotOurs;

/// Seals rows in as few pieces as they need.
pub fn seal(key: &WindowKey, rows: &Rows) -> Vec<Vec<u8>> {
    const ROOM: usize = MAX_PIECE - WindowKey::NONCE_LEN - WindowKey::TAG_LEN;
    let mut pieces = Vec::new();
    let mut records = Vec::with_capacity(ROOM);
    let mut add = |record: &[&[u8]]| {
        if records.len() + record.iter().map(|field| field.len()).sum::<usize>() > ROOM {
            pieces.push(piece(key, &records));
            records.clear();
        }
        record.iter().for_each(|field| records.extend_from_slice(field));
    };
    for ((subject, proxied), row) in &rows.installations {
        add(&[
            &[if *proxied { PROXIED_INSTALLATION } else { DIRECT_INSTALLATION }],
            &subject.as_i64().to_be_bytes(),
            &row.pod.as_i64().to_be_bytes(),
            &row.app_version.to_be_bytes(),
            &row.language.to_be_bytes(),
            &row.platform.to_be_bytes(),
        ]);
    }
    for (subject, row) in &rows.pods {
        add(&[&[POD], &subject.as_i64().to_be_bytes(), &row.version.to_be_bytes(), &row.size.to_be_bytes()]);
    }
    if !records.is_empty() {
        pieces.push(piece(key, &records));
    }
    pieces
}

fn piece(key: &WindowKey, records: &[u8]) -> Vec<u8> {
    let mut nonce = [0; WindowKey::NONCE_LEN];
    rand::rng().fill_bytes(&mut nonce);
    [nonce.as_slice(), &key.encrypt(&nonce, records)].concat()
}

/// Adds what a piece holds to rows of the same window.
///
/// # Errors
/// [`NotOurs`], if another key has sealed it, or somebody has changed it; nothing is added then.
pub fn open(key: &WindowKey, piece: &[u8], rows: &mut Rows) -> Result<(), NotOurs> {
    let (nonce, sealed) = piece.split_first_chunk().ok_or(NotOurs)?;
    let records = key.decrypt(nonce, sealed).ok_or(NotOurs)?;
    let mut fields = Fields(&records);
    while !fields.0.is_empty() {
        fields.record(rows).ok_or(NotOurs)?;
    }
    Ok(())
}

/// What is left of the records of a piece.
struct Fields<'p>(&'p [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn subject(&mut self) -> Option<Subject> {
        Some(Subject::from_i64(i64::from_be_bytes(self.take()?)))
    }

    fn record(&mut self, rows: &mut Rows) -> Option<()> {
        let [what] = self.take()?;
        let subject = self.subject()?;
        if what == POD {
            let (version, size) = (i64::from_be_bytes(self.take()?), i32::from_be_bytes(self.take()?));
            rows.add_pod(subject, PodRow { version, size });
        } else {
            let row = InstallationRow {
                pod: self.subject()?,
                app_version: i64::from_be_bytes(self.take()?),
                language: i32::from_be_bytes(self.take()?),
                platform: i16::from_be_bytes(self.take()?),
                proxied: what == PROXIED_INSTALLATION,
            };
            rows.add_installation(subject, row);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> WindowKey {
        WindowKey::new(&[byte; WindowKey::LEN])
    }

    prop_compose! {
        fn some_rows()(
            installations in prop::collection::vec(
                (any::<(i64, i64, i64)>(), any::<(i32, i16, bool)>()), 0..300),
            pods in prop::collection::vec(any::<(i64, i64, i32)>(), 0..300),
        ) -> Rows {
            let mut rows = Rows::default();
            for ((subject, pod, app_version), (language, platform, proxied)) in installations {
                let pod = Subject::from_i64(pod);
                let row = InstallationRow { pod, app_version, language, platform, proxied };
                rows.add_installation(Subject::from_i64(subject), row);
            }
            for (subject, version, size) in pods {
                // What is not reported is 0, and nothing is below.
                let row = PodRow { version: version.max(0), size: size.max(0) };
                rows.add_pod(Subject::from_i64(subject), row);
            }
            rows
        }
    }

    proptest! {
        #[test]
        fn what_is_opened_is_what_was_sealed_and_each_piece_is_short(rows in some_rows()) {
            let mut opened = Rows::default();
            for piece in seal(&key(1), &rows) {
                prop_assert!(piece.len() <= MAX_PIECE);
                open(&key(1), &piece, &mut opened).unwrap();
            }
            prop_assert_eq!(opened, rows);
        }
    }

    #[test]
    fn nothing_is_opened_that_another_key_has_sealed_or_somebody_has_changed() {
        let mut rows = Rows::default();
        rows.add_pod(Subject::from_i64(7), PodRow { version: 1, size: 1 });
        let piece = seal(&key(1), &rows).remove(0);
        let mut wrong: Vec<Vec<u8>> =
            vec![Vec::new(), vec![0; 24], piece[1..].to_vec(), [&piece[..], b"x"].concat()];
        for byte in 0..piece.len() {
            let mut changed = piece.clone();
            changed[byte] ^= 1;
            wrong.push(changed);
        }
        let mut opened = Rows::default();
        assert_eq!(open(&key(2), &piece, &mut opened), Err(NotOurs));
        for wrong in wrong {
            assert_eq!(open(&key(1), &wrong, &mut opened), Err(NotOurs), "{wrong:?}");
        }
        assert_eq!(opened, Rows::default());
    }

    #[test]
    fn the_same_rows_are_never_sealed_alike() {
        let mut rows = Rows::default();
        rows.add_pod(Subject::from_i64(7), PodRow { version: 1, size: 1 });
        let pieces: std::collections::BTreeSet<_> =
            (0..100).map(|_| seal(&key(1), &rows).remove(0)).collect();
        assert_eq!(pieces.len(), 100);
        let needle = 7i64.to_be_bytes();
        assert!(pieces.iter().all(|piece| !piece.windows(8).any(|bytes| bytes == needle)));
    }
}
