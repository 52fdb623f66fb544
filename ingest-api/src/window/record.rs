//! What an open window holds about a reporter ↔ its bytes. Pure.

use shared::event;

use super::codes::{self, InstallationCodes, PodCodes};
use super::subject::Subject;

/// The longest record, in bytes.
pub const MAX_LEN: usize = 1 + 2 * 8 + size_of::<InstallationCodes>();
/// The head of a record has six bits for the length of its codes, in bytes.
const _: () =
    assert!(size_of::<InstallationCodes>() <= LENGTH as usize && size_of::<PodCodes>() <= LENGTH as usize);

/// A head that ends the records: the rest is zeros.
const END: u8 = 0;
/// The bits of a head that hold the length of the codes. The bits above them are the [`Kind`].
const LENGTH: u8 = 0x3f;

/// The kinds of reporters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    DirectInstallation = 1,
    ProxiedInstallation = 2,
    Pod = 3,
}

/// The two populations, which are never added into one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Population {
    /// Reports that came through a Pod.
    Pod,
    /// Reports of apps that use a plain XMPP server.
    Direct,
}

impl Population {
    /// Both. The index of a population is its number.
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

/// What one reporter said in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// Of an installation.
    Installation(Installation),
    /// Of a Pod.
    Pod(Pod),
}

/// What an installation said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Its subject, for this window only.
    pub subject: Subject,
    /// Its population. A subject is normally in one population only: a proxied hash is salted, a direct one
    /// is not.
    pub population: Population,
    /// The subject of its Pod, or of its XMPP server.
    pub pod: Subject,
    /// The values of its data points.
    pub codes: InstallationCodes,
}

/// What a Pod said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its subject, for this window only.
    pub subject: Subject,
    /// The values of its data points.
    pub codes: PodCodes,
}

impl Pod {
    /// Merges another record of the same Pod: takes the greater of each pair of values.
    pub fn merge(&mut self, other: &Self) {
        codes::merge::<event::Pod>(&mut self.codes, &other.codes);
    }
}

impl Record {
    fn kind(&self) -> Kind {
        match self {
            Self::Installation(Installation { population: Population::Direct, .. }) => {
                Kind::DirectInstallation
            }
            Self::Installation(Installation { population: Population::Pod, .. }) => Kind::ProxiedInstallation,
            Self::Pod(_) => Kind::Pod,
        }
    }

    /// Its subject.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Installation(installation) => installation.subject,
            Self::Pod(pod) => pod.subject,
        }
    }

    fn key(&self) -> (Subject, Kind) {
        (self.subject(), self.kind())
    }

    /// Merges another record of the same reporter: takes the greater of each pair of values.
    fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Installation(ours), Self::Installation(theirs)) => {
                ours.pod = ours.pod.max(theirs.pod);
                codes::merge::<event::App>(&mut ours.codes, &theirs.codes);
            }
            (Self::Pod(ours), Self::Pod(theirs)) => ours.merge(theirs),
            (Self::Installation(_), Self::Pod(_)) | (Self::Pod(_), Self::Installation(_)) => {}
        }
    }

    /// Appends its bytes: a head with its kind and the length of its codes, its subject, the Pod of an
    /// installation, its codes.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        let codes = match self {
            Self::Installation(installation) => installation.codes.as_slice(),
            Self::Pod(pod) => pod.codes.as_slice(),
        };
        bytes.push((self.kind() as u8) << LENGTH.count_ones() | codes.len() as u8);
        bytes.extend_from_slice(&self.subject().as_i64().to_be_bytes());
        if let Self::Installation(installation) = self {
            bytes.extend_from_slice(&installation.pod.as_i64().to_be_bytes());
        }
        bytes.extend_from_slice(codes);
    }
}

/// Reads records in sequence, up to the end or to zeros.
#[derive(Clone, Debug)]
pub struct Read<'b>(pub &'b [u8]);

/// Why bytes are not valid records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRecords {
    /// They are damaged, or not sorted.
    #[error("the stored records of an open window are damaged")]
    Damaged,
    /// A version that knows more data points has written them.
    #[error("a newer version has written to the window; install that version")]
    Newer,
}

impl Read<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], NotRecords> {
        let (first, rest) = self.0.split_first_chunk().ok_or(NotRecords::Damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    fn subject(&mut self) -> Result<Subject, NotRecords> {
        self.take().map(|bytes| Subject::from_i64(i64::from_be_bytes(bytes)))
    }

    /// Codes that an earlier version may have written, with fewer data points. The others become "not
    /// reported".
    fn codes<const N: usize>(&mut self, length: u8) -> Result<[u8; N], NotRecords> {
        let (written, rest) = self.0.split_at_checked(length.into()).ok_or(NotRecords::Damaged)?;
        self.0 = rest;
        let mut codes = [0; N];
        codes.get_mut(..written.len()).ok_or(NotRecords::Newer)?.copy_from_slice(written);
        Ok(codes)
    }

    fn record(&mut self) -> Result<Option<Record>, NotRecords> {
        let [head] = self.take()?;
        if head == END {
            return Ok(None);
        }
        let kinds = [Kind::DirectInstallation, Kind::ProxiedInstallation, Kind::Pod];
        let kind = kinds
            .into_iter()
            .find(|kind| *kind as u8 == head >> LENGTH.count_ones())
            .ok_or(NotRecords::Damaged)?;
        let (subject, length) = (self.subject()?, head & LENGTH);
        let population = match kind {
            Kind::DirectInstallation => Population::Direct,
            Kind::ProxiedInstallation => Population::Pod,
            Kind::Pod => return Ok(Some(Record::Pod(Pod { subject, codes: self.codes(length)? }))),
        };
        let pod = self.subject()?;
        let codes = self.codes(length)?;
        Ok(Some(Record::Installation(Installation { subject, population, pod, codes })))
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

/// One record for each reporter, sorted by subject. Subjects are random, so the order does not show who came
/// first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records(Vec<Record>);

impl From<Vec<Record>> for Records {
    /// Merges the records of each reporter.
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
    /// All records, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.0.iter()
    }
}

/// Merges records in memory with a sorted sequence that is read piece by piece.
#[derive(Debug)]
pub struct Merge {
    ours: std::iter::Peekable<std::vec::IntoIter<Record>>,
    /// The last record of the sequence.
    last: Option<(Subject, Kind)>,
}

impl Merge {
    /// Begins with the records in memory.
    pub fn new(ours: Records) -> Self {
        Self { ours: ours.0.into_iter().peekable(), last: None }
    }

    /// Takes the next records of the sequence, and passes on all records up to them.
    ///
    /// # Errors
    /// [`NotRecords`], also if the sequence is not sorted.
    pub fn with(&mut self, theirs: Read<'_>, mut take: impl FnMut(Record)) -> Result<(), NotRecords> {
        for record in theirs {
            let mut record = record?;
            let key = record.key();
            if self.last.replace(key).is_some_and(|last| last >= key) {
                return Err(NotRecords::Damaged);
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

    /// Passes on the records that come after the sequence.
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
            kind in 0..3,
            pod in any::<i64>(),
            of_installation in any::<InstallationCodes>(),
            of_pod in any::<PodCodes>(),
        ) -> Record {
            let (subject, pod) = (Subject::from_i64(subject), Subject::from_i64(pod));
            let installation =
                |population| Record::Installation(Installation { subject, population, pod, codes: of_installation });
            match kind {
                0 => installation(Population::Direct),
                1 => installation(Population::Pod),
                _ => Record::Pod(Pod { subject, codes: of_pod }),
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
            bytes[0] = 1;
            prop_assert_eq!(Read(&bytes).collect::<Vec<_>>(), [Err(NotRecords::Damaged)]);
        }

        /// In pieces of any length, and with either side in memory.
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
        let record =
            |subject| Record::Pod(Pod { subject: Subject::from_i64(subject), codes: PodCodes::default() });
        for (first, then, expected) in
            [(1, 2, Ok(())), (2, 1, Err(NotRecords::Damaged)), (1, 1, Err(NotRecords::Damaged))]
        {
            let bytes = bytes(&Records(vec![record(first), record(then)]));
            assert_eq!(Merge::new(Records::default()).with(Read(&bytes), drop), expected);
        }
    }

    /// A record whose last codes are missing, from a version that did not know their data point.
    #[test]
    fn a_record_of_a_version_before_says_nothing_about_later_data_points() {
        let subject = Subject::from_i64(7);
        let codes = [1; size_of::<InstallationCodes>()];
        let now =
            Record::Installation(Installation { subject, population: Population::Pod, pod: subject, codes });
        let mut bytes = Vec::new();
        now.write(&mut bytes);
        let length = bytes.len();
        bytes.truncate(length - 4);
        bytes[0] -= 4;
        let before: Vec<_> = Read(&bytes).collect();
        let mut expected = codes;
        expected[codes.len() - 4..].fill(0);
        let [Ok(Record::Installation(read))] = before[..] else { panic!("{before:?}") };
        assert_eq!(read.codes, expected);
        assert_eq!(Records::from(vec![Record::Installation(read), now]), Records::from(vec![now]));
    }

    #[test]
    fn a_record_of_a_later_version_is_refused() {
        let mut bytes = Vec::new();
        Record::Pod(Pod { subject: Subject::from_i64(7), codes: PodCodes::default() }).write(&mut bytes);
        bytes[0] += 1;
        bytes.push(1);
        assert_eq!(Read(&bytes).collect::<Vec<_>>(), [Err(NotRecords::Newer)]);
    }
}
