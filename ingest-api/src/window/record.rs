//! What an open window holds of a reporter, and the bytes of it. Pure.

use super::subject::Subject;

/// How long a record is at most, in bytes.
pub const MAX_LEN: usize = 31;

/// What follows is none: all zeros.
const END: u8 = 0;

/// Which reporters there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reporter {
    /// An installation that talks to the vendor itself.
    DirectInstallation = 1,
    /// An installation that reports through a Pod.
    ProxiedInstallation = 2,
    /// A Pod.
    Pod = 3,
}

/// Two populations that are never added into one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Population {
    /// Reports that came through a Pod.
    Pod,
    /// Reports of apps that use a plain XMPP server.
    Direct,
}

impl Population {
    /// Both: the place of one is its number.
    pub const ALL: [Self; 2] = [Self::Pod, Self::Direct];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Direct => "direct",
        }
    }

    /// The population of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|population| population.as_str() == name)
    }
}

/// What one reporter has said in one window, in [codes](super::code) of which the greater one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who it is, in this window only.
    pub subject: Subject,
    /// What it is. A subject is in one population only, as a rule: a proxied hash is salted, a direct one is not.
    pub reporter: Reporter,
    /// Of an installation, its Pod, or its XMPP server; of a Pod, itself.
    pub pod: Subject,
    /// Of an installation, app and version; of a Pod, its version.
    pub version: i64,
    /// Of an installation, the locale; of a Pod, its size bin.
    pub language_or_size: i32,
    /// Of an installation, the platform; of a Pod, 0.
    pub platform: i16,
}

impl Record {
    fn key(&self) -> (Subject, Reporter) {
        (self.subject, self.reporter)
    }

    /// Takes the greater one of each value that another record of the same reporter has.
    pub fn merge(&mut self, other: &Self) {
        self.pod = self.pod.max(other.pod);
        self.version = self.version.max(other.version);
        self.language_or_size = self.language_or_size.max(other.language_or_size);
        self.platform = self.platform.max(other.platform);
    }

    /// Appends its bytes: what it is, then its numbers in the order of their declaration, big-endian, without those that a Pod
    /// has not.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(self.reporter as u8);
        bytes.extend_from_slice(&self.subject.as_i64().to_be_bytes());
        if self.reporter != Reporter::Pod {
            bytes.extend_from_slice(&self.pod.as_i64().to_be_bytes());
        }
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.extend_from_slice(&self.language_or_size.to_be_bytes());
        if self.reporter != Reporter::Pod {
            bytes.extend_from_slice(&self.platform.to_be_bytes());
        }
    }
}

/// Records that follow each other, up to the end or to zeros.
#[derive(Clone, Debug)]
pub struct Read<'b>(pub &'b [u8]);

/// Some bytes are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("some bytes are not the records of an open window")]
pub struct NotRecords;

impl Read<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], NotRecords> {
        let (first, rest) = self.0.split_first_chunk().ok_or(NotRecords)?;
        self.0 = rest;
        Ok(*first)
    }

    fn subject(&mut self) -> Result<Subject, NotRecords> {
        self.take().map(|bytes| Subject::from_i64(i64::from_be_bytes(bytes)))
    }

    fn record(&mut self) -> Result<Option<Record>, NotRecords> {
        let reporter = match self.take()? {
            [END] => return Ok(None),
            [1] => Reporter::DirectInstallation,
            [2] => Reporter::ProxiedInstallation,
            [3] => Reporter::Pod,
            [_] => return Err(NotRecords),
        };
        let is_pod = reporter == Reporter::Pod;
        let subject = self.subject()?;
        Ok(Some(Record {
            subject,
            reporter,
            pod: if is_pod { subject } else { self.subject()? },
            version: i64::from_be_bytes(self.take()?),
            language_or_size: i32::from_be_bytes(self.take()?),
            platform: if is_pod { 0 } else { i16::from_be_bytes(self.take()?) },
        }))
    }
}

impl Iterator for Read<'_> {
    type Item = Result<Record, NotRecords>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = self.record();
        if !matches!(record, Ok(Some(_))) {
            self.0 = &[];
        }
        record.transpose()
    }
}

/// One record a reporter, in the order of subjects, which are random: it tells nothing about who came first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records(Vec<Record>);

impl From<Vec<Record>> for Records {
    /// Merges those of one reporter.
    fn from(mut records: Vec<Record>) -> Self {
        records.sort_unstable_by_key(Record::key);
        records.dedup_by(|next, kept| {
            let same = next.key() == kept.key();
            if same {
                kept.merge(next);
            }
            same
        });
        Self(records)
    }
}

impl Records {
    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.0.iter()
    }
}

/// Merges some records with others that are read piece by piece, in order, too.
#[derive(Debug)]
pub struct Merge {
    ours: std::iter::Peekable<std::vec::IntoIter<Record>>,
    /// The last of theirs.
    last: Option<(Subject, Reporter)>,
}

impl Merge {
    /// Begins with what is in memory.
    pub fn new(ours: Records) -> Self {
        Self { ours: ours.0.into_iter().peekable(), last: None }
    }

    /// Takes the next records of the others, and hands on what comes before the ones after them.
    ///
    /// # Errors
    /// [`NotRecords`], also if they are not in order.
    pub fn with(&mut self, theirs: Read<'_>, mut take: impl FnMut(Record)) -> Result<(), NotRecords> {
        for record in theirs {
            let mut record = record?;
            let key = record.key();
            if self.last.replace(key).is_some_and(|last| last >= key) {
                return Err(NotRecords);
            }
            while let Some(before) = self.ours.next_if(|ours| ours.key() < key) {
                take(before);
            }
            if let Some(same) = self.ours.next_if(|ours| ours.key() == key) {
                record.merge(&same);
            }
            take(record);
        }
        Ok(())
    }

    /// Hands on what comes after all of theirs.
    pub fn end(self, take: impl FnMut(Record)) {
        self.ours.for_each(take);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn some_record()(
            subject in 0..300_i64,
            which in 0..3_usize,
            pod in any::<i64>(),
            version in any::<i64>(),
            language_or_size in any::<i32>(),
            platform in any::<i16>(),
        ) -> Record {
            let reporter =
                [Reporter::DirectInstallation, Reporter::ProxiedInstallation, Reporter::Pod][which];
            let (subject, pod) = (Subject::from_i64(subject), Subject::from_i64(pod));
            match reporter {
                Reporter::Pod => Record { subject, reporter, pod: subject, version, language_or_size, platform: 0 },
                _ => Record { subject, reporter, pod, version, language_or_size, platform },
            }
        }
    }

    pub(in super::super) fn some_records() -> impl Strategy<Value = Vec<Record>> {
        prop::collection::vec(some_record(), 0..600)
    }

    fn bytes(records: &Records) -> Vec<u8> {
        let mut bytes = Vec::new();
        records.iter().for_each(|record| record.write(&mut bytes));
        bytes
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(records in some_records()) {
            let records = Records::from(records);
            let mut bytes = bytes(&records);
            prop_assert!(bytes.len() <= records.iter().count() * MAX_LEN);
            let read = |bytes: &[u8]| Read(bytes).collect::<Result<Vec<_>, _>>();
            prop_assert_eq!(&read(&bytes).unwrap(), &records.0);
            bytes.extend([END; 40]);
            prop_assert_eq!(&read(&bytes).unwrap(), &records.0);
        }

        #[test]
        fn bytes_that_break_off_or_are_something_else_are_not_taken_for_records(
            records in some_records(),
            cut in 1_usize..20,
        ) {
            let mut bytes = bytes(&Records::from(records));
            prop_assume!(bytes.len() > cut);
            let whole = Read(&bytes).count();
            bytes.truncate(bytes.len() - cut);
            let read: Vec<_> = Read(&bytes).collect();
            prop_assert!(read.len() <= whole && read.iter().filter(|record| record.is_ok()).count() < whole);
            bytes[0] = 4;
            prop_assert_eq!(Read(&bytes).collect::<Vec<_>>(), [Err(NotRecords)]);
        }

        /// In pieces of any length, and whichever of the two sides is in memory.
        #[test]
        fn a_merge_of_two_sides_is_what_all_together_are(
            ours in some_records(),
            theirs in some_records(),
            length in 1_usize..50,
        ) {
            let together = Records::from([ours.clone(), theirs.clone()].concat());
            for (ours, theirs) in [(&ours, &theirs), (&theirs, &ours)] {
                let (ours, theirs) = (Records::from(ours.clone()), Records::from(theirs.clone()));
                let mut merged = Vec::new();
                let mut merge = Merge::new(ours);
                for piece in theirs.0.chunks(length) {
                    let piece = bytes(&Records(piece.to_vec()));
                    merge.with(Read(&piece), |record| merged.push(record)).unwrap();
                }
                merge.end(|record| merged.push(record));
                prop_assert_eq!(&merged, &together.0);
            }
        }

        #[test]
        fn the_order_in_which_records_come_changes_nothing(records in some_records(), turn in 0_usize..600) {
            let mut others = records.clone();
            others.reverse();
            let turn = turn.min(others.len());
            others.rotate_left(turn);
            // Each of them twice.
            others.extend_from_slice(&records);
            prop_assert_eq!(Records::from(records), Records::from(others));
        }
    }

    #[test]
    fn records_out_of_order_are_refused() {
        let record = |subject| Record {
            subject: Subject::from_i64(subject),
            reporter: Reporter::Pod,
            pod: Subject::from_i64(subject),
            version: 0,
            language_or_size: 0,
            platform: 0,
        };
        for (first, then, expected) in [(1, 2, Ok(())), (2, 1, Err(NotRecords)), (1, 1, Err(NotRecords))] {
            let bytes = bytes(&Records(vec![record(first), record(then)]));
            assert_eq!(Merge::new(Records::default()).with(Read(&bytes), drop), expected);
        }
    }
}
