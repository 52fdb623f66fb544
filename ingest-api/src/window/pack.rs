//! Records → packs, which hold the merged records of an open window: some 260 in each, in order. Pure.

use super::record::{MAX_LEN, Record};

/// The length of a pack in bytes, padded with zeros. With the headers of its row and page, it fills a page of
/// Postgres.
pub const PACK: usize = 8_100;

/// Packs records that are added in their order.
#[derive(Debug, Default)]
pub struct Packer {
    /// The packs that are full, one after the other. The caller writes and clears it.
    pub full: Vec<u8>,
    open: Vec<u8>,
}

impl Packer {
    /// Adds a record. It must follow the previous one in order.
    pub fn add(&mut self, record: &Record) {
        if self.open.len() + MAX_LEN > PACK {
            self.close();
        }
        record.write(&mut self.open);
    }

    /// Finishes the last pack, and returns all packs that are left.
    pub fn end(mut self) -> Vec<u8> {
        if !self.open.is_empty() {
            self.close();
        }
        self.full
    }

    fn close(&mut self) {
        self.open.resize(PACK, 0);
        self.full.append(&mut self.open);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::tests::some_records;
    use super::super::record::{Read, Records};
    use super::*;

    proptest! {
        #[test]
        fn packs_hold_the_records_in_their_order(records in some_records()) {
            let records = Records::from(records);
            let mut packer = Packer::default();
            records.iter().for_each(|record| packer.add(record));
            let packs = packer.end();
            prop_assert_eq!(packs.len() % PACK, 0);
            let read: Result<Vec<_>, _> = packs.chunks(PACK).flat_map(Read).collect();
            prop_assert_eq!(read.unwrap(), records.iter().copied().collect::<Vec<_>>());
        }
    }
}
