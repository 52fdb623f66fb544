//! [`Rows`] of one window ⇄ sealed pieces: what the database holds of them until they are merged.
//!
//! A piece is a nonce of 24 bytes, then records, encrypted and authenticated together by XChaCha20-Poly1305 under a key that
//! follows from the window's. A record is a byte that says what it is, and the numbers of a row in the order of their
//! declaration, big-endian; zeros follow up to a multiple of 256 bytes. So without the key, a piece tells that it holds some
//! rows more or less, and not what they are: one that is alone might be eight. Programs that know no other records give up what
//! they do not know: a new one is in a migration that breaks with them.

use rand::Rng;

use super::rekey::{InstallationRow, PodRow, Rows, Subject};
use crate::keys::WindowKey;

/// How long a piece may be, in bytes: with the heads of its row and its page, four lie in a page of Postgres, and none is moved
/// out of its table (PostgreSQL manual, "TOAST").
const MAX_PIECE: usize = 2_000;

/// How long the records of a piece may be, in bytes …
const ROOM: usize = MAX_PIECE - WindowKey::NONCE_LEN - WindowKey::TAG_LEN;
/// … and they are filled up to a multiple of this, unless there is no room.
const STEP: usize = 256;

/// What follows is none: all zeros.
const END: u8 = 0;
const DIRECT_INSTALLATION: u8 = 1;
const PROXIED_INSTALLATION: u8 = 2;
const POD: u8 = 3;

/// What was to be opened is not a piece that this key has sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a piece was not sealed with the key of its window")]
pub struct NotOurs;

/// Seals rows in as few pieces as they need.
pub fn seal(key: &WindowKey, rows: &Rows) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut records = Vec::with_capacity(ROOM);
    let mut add = |record: &[&[u8]]| {
        if records.len() + record.iter().map(|field| field.len()).sum::<usize>() > ROOM {
            pieces.push(piece(key, &mut records));
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
        pieces.push(piece(key, &mut records));
    }
    pieces
}

fn piece(key: &WindowKey, records: &mut Vec<u8>) -> Vec<u8> {
    records.resize(records.len().next_multiple_of(STEP).min(ROOM), END);
    let mut nonce = [0; WindowKey::NONCE_LEN];
    rand::rng().fill_bytes(&mut nonce);
    [nonce.as_slice(), &key.encrypt(&nonce, records)].concat()
}

/// Adds what a piece holds to rows of the same window.
///
/// # Errors
/// [`NotOurs`], if another key has sealed it, or somebody has changed it.
pub fn open(key: &WindowKey, piece: &[u8], rows: &mut Rows) -> Result<(), NotOurs> {
    let (nonce, sealed) = piece.split_first_chunk().ok_or(NotOurs)?;
    let records = key.decrypt(nonce, sealed).ok_or(NotOurs)?;
    let mut fields = Fields(&records);
    while let Some(what) = fields.take::<1>() {
        match what {
            [END] => break,
            [what] => fields.record(what, rows).ok_or(NotOurs)?,
        }
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

    fn record(&mut self, what: u8, rows: &mut Rows) -> Option<()> {
        let subject = self.subject()?;
        match what {
            POD => {
                let (version, size) = (i64::from_be_bytes(self.take()?), i32::from_be_bytes(self.take()?));
                rows.add_pod(subject, PodRow { version, size });
            }
            DIRECT_INSTALLATION | PROXIED_INSTALLATION => {
                let row = InstallationRow {
                    pod: self.subject()?,
                    app_version: i64::from_be_bytes(self.take()?),
                    language: i32::from_be_bytes(self.take()?),
                    platform: i16::from_be_bytes(self.take()?),
                    proxied: what == PROXIED_INSTALLATION,
                };
                rows.add_installation(subject, row);
            }
            _ => return None,
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
    fn how_long_a_piece_is_does_not_tell_what_is_in_it() {
        let subject = Subject::from_i64;
        let row =
            |proxied| InstallationRow { pod: subject(1), app_version: 1, language: 1, platform: 1, proxied };
        let (mut of_a_pod, mut direct, mut proxied) = (Rows::default(), Rows::default(), Rows::default());
        of_a_pod.add_pod(subject(1), PodRow::default());
        direct.add_installation(subject(2), row(false));
        proxied.add_installation(subject(2), row(true));
        proxied.add_pod(subject(1), PodRow::default());
        let lengths = [of_a_pod, direct, proxied].map(|rows| {
            let pieces = seal(&key(1), &rows);
            (pieces.len(), pieces[0].len())
        });
        assert_eq!(lengths, [(1, 256 + 40); 3]);
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
