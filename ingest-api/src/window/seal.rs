//! [`Records`] of one window ↔ sealed pieces, which the database holds until they are merged.
//!
//! A piece is a nonce of 24 bytes, then records, encrypted and authenticated together by XChaCha20-Poly1305
//! under a key derived from the window's key. The records are padded with zeros to a multiple of 256 bytes.
//! So without the key, a piece reveals only roughly how many records it holds: a single one looks like eight.

use rand::Rng;

use super::key::WindowKey;
use super::record::{MAX_LEN, NotRecords, Read, Record, Records};

/// The longest piece, in bytes. With the headers of row and page, four fit into a page of Postgres, and none
/// is moved out of its table (PostgreSQL manual, "TOAST").
const MAX_PIECE: usize = 1_996;

/// The most bytes of records in a piece.
const ROOM: usize = MAX_PIECE - WindowKey::NONCE_LEN - WindowKey::TAG_LEN;
/// The records are padded to a multiple of this, or to the end of the piece.
const STEP: usize = 256;

/// Why a piece could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It was sealed with another key, or was changed. Nobody can open it.
    #[error("a piece was not sealed with the key of its window")]
    NotOurs,
    /// A newer version sealed its records, and can open it.
    #[error(transparent)]
    NotRecords(#[from] NotRecords),
}

/// Seals records in few pieces.
pub fn seal(key: &WindowKey, records: &Records) -> Vec<Vec<u8>> {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for record in records.iter() {
        match pieces.last_mut() {
            Some(open) if open.len() + MAX_LEN <= WindowKey::NONCE_LEN + ROOM => record.write(open),
            _ => {
                let mut open = Vec::with_capacity(MAX_PIECE);
                open.resize(WindowKey::NONCE_LEN, 0);
                rand::rng().fill_bytes(&mut open);
                record.write(&mut open);
                pieces.push(open);
            }
        }
    }
    for piece in &mut pieces {
        let records = piece.len() - WindowKey::NONCE_LEN;
        piece.resize(WindowKey::NONCE_LEN + records.next_multiple_of(STEP).min(ROOM), 0);
        key.encrypt(piece);
    }
    pieces
}

/// Appends the records of a piece to others of the same window.
///
/// # Errors
/// [`OpenError`]; then nothing is appended.
pub fn open(key: &WindowKey, piece: &[u8], records: &mut Vec<Record>) -> Result<(), OpenError> {
    let (nonce, sealed) = piece.split_first_chunk().ok_or(OpenError::NotOurs)?;
    let opened = key.decrypt(nonce, sealed).ok_or(OpenError::NotOurs)?;
    let before = records.len();
    for record in Read(&opened) {
        match record {
            Ok(record) => records.push(record),
            Err(newer) => {
                records.truncate(before);
                return Err(newer.into());
            }
        }
    }
    Ok(())
}

/// The contents of a window's pieces.
#[derive(Debug)]
pub struct Opened<'k> {
    key: Option<&'k WindowKey>,
    /// Their records.
    pub records: Vec<Record>,
    /// The total length of the pieces, in bytes.
    pub bytes: i64,
    /// How many pieces could not be opened: the key is missing, or did not seal them.
    pub unopened: u64,
}

impl<'k> Opened<'k> {
    /// Starts empty. Without a key, no piece can be opened.
    pub fn with(key: Option<&'k WindowKey>) -> Self {
        Self { key, records: Vec::new(), bytes: 0, unopened: 0 }
    }

    /// Opens a piece.
    ///
    /// # Errors
    /// If a newer version has sealed it. The piece must stay for that version.
    pub fn add(&mut self, piece: &[u8]) -> Result<(), NotRecords> {
        self.bytes += piece.len() as i64;
        match self.key.map(|key| open(key, piece, &mut self.records)) {
            Some(Ok(())) => {}
            None | Some(Err(OpenError::NotOurs)) => self.unopened += 1,
            Some(Err(OpenError::NotRecords(newer))) => return Err(newer),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Population;
    use super::super::record::tests::some_records;
    use super::super::record::{Installation, Pod};
    use super::super::subject::Subject;
    use super::*;

    fn key(byte: u8) -> WindowKey {
        WindowKey::new(&[byte; WindowKey::LEN])
    }

    fn pod(subject: i64) -> Record {
        Record::Pod(Pod { subject: Subject::from_i64(subject), codes: [1; _] })
    }

    fn installation(population: Population, subject: i64) -> Record {
        let subject = Subject::from_i64(subject);
        Record::Installation(Installation { subject, population, pod: subject, codes: [1; _] })
    }

    fn one() -> Records {
        vec![pod(7)].into()
    }

    proptest! {
        #[test]
        fn what_is_opened_is_what_was_sealed_and_each_piece_is_short(records in some_records()) {
            let records = Records::from(records);
            let mut opened = Vec::new();
            for piece in seal(&key(1), &records) {
                prop_assert!(piece.len() <= MAX_PIECE);
                open(&key(1), &piece, &mut opened).unwrap();
            }
            prop_assert_eq!(Records::from(opened), records);
        }
    }

    #[test]
    fn nothing_is_opened_that_another_key_has_sealed_or_somebody_has_changed() {
        let piece = seal(&key(1), &one()).remove(0);
        let mut wrong: Vec<Vec<u8>> =
            vec![Vec::new(), vec![0; 24], piece[1..].to_vec(), [&piece[..], b"x"].concat()];
        for byte in 0..piece.len() {
            let mut changed = piece.clone();
            changed[byte] ^= 1;
            wrong.push(changed);
        }
        let mut opened = Vec::new();
        assert_eq!(open(&key(2), &piece, &mut opened), Err(OpenError::NotOurs));
        for wrong in wrong {
            assert_eq!(open(&key(1), &wrong, &mut opened), Err(OpenError::NotOurs), "{wrong:?}");
        }
        assert_eq!(opened, []);
    }

    #[test]
    fn how_long_a_piece_is_does_not_tell_what_is_in_it() {
        let pod = pod(1);
        let [direct, proxied] =
            [Population::Direct, Population::Pod].map(|population| installation(population, 2));
        let lengths = [vec![pod], vec![direct], vec![proxied, pod]].map(|records| {
            let pieces = seal(&key(1), &records.into());
            (pieces.len(), pieces[0].len())
        });
        assert_eq!(lengths, [(1, 256 + 40); 3]);
    }

    #[test]
    fn the_same_records_are_never_sealed_alike() {
        let pieces: std::collections::BTreeSet<_> =
            (0..100).map(|_| seal(&key(1), &one()).remove(0)).collect();
        assert_eq!(pieces.len(), 100);
        let needle = 7i64.to_be_bytes();
        assert!(pieces.iter().all(|piece| !piece.windows(8).any(|bytes| bytes == needle)));
    }

    #[test]
    fn a_piece_of_a_newer_version_is_kept_for_it() {
        let mut piece = vec![0; WindowKey::NONCE_LEN];
        one().iter().for_each(|record| record.write(&mut piece));
        piece[WindowKey::NONCE_LEN] += 1;
        piece.push(1);
        piece.resize(WindowKey::NONCE_LEN + STEP, 0);
        key(1).encrypt(&mut piece);
        let (mut with, key) = (Vec::new(), key(1));
        assert_eq!(open(&key, &piece, &mut with), Err(OpenError::NotRecords(NotRecords::Newer)));
        assert_eq!(Opened::with(Some(&key)).add(&piece), Err(NotRecords::Newer));
        assert_eq!(with, []);
    }
}
