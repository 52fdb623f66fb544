//! Many rows at a time, in the binary format of `COPY` (PostgreSQL manual, "COPY", "Binary Format").

use futures_util::TryStreamExt;
use sqlx::PgConnection;

/// How each stream of rows begins.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// In the place of a row's number of columns: there is none any more.
const END: i16 = -1;
/// After so many rows, in a fraction of a millisecond, others have their turn.
const PAUSE_AFTER: u64 = 1_000;

/// Rows to be written to a table.
pub(super) struct CopyIn {
    table: &'static str,
    columns: &'static str,
    rows: usize,
    bytes: Vec<u8>,
}

impl CopyIn {
    pub(super) fn new(table: &'static str, columns: &'static str) -> Self {
        // No flags, no extension.
        let bytes = [SIGNATURE.as_slice(), &[0; 8]].concat();
        Self { table, columns, rows: 0, bytes }
    }

    /// Begins a row of so many columns; its fields follow, in order.
    pub(super) fn row(&mut self, columns: i16) -> &mut Self {
        self.rows += 1;
        self.bytes.extend(columns.to_be_bytes());
        self
    }

    pub(super) fn field<const N: usize>(&mut self, value: &[u8; N]) -> &mut Self {
        self.bytes.extend((N as u32).to_be_bytes());
        self.bytes.extend(value);
        self
    }

    /// Writes them.
    pub(super) async fn send(mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.rows == 0 {
            return Ok(());
        }
        self.bytes.extend(END.to_be_bytes());
        let statement = format!("COPY {} ({}) FROM STDIN (FORMAT binary)", self.table, self.columns);
        let mut target = connection.copy_in_raw(&statement).await?;
        target.send(self.bytes).await?;
        target.finish().await?;
        Ok(())
    }
}

/// Reads the rows of a query that has `N` columns, and hands each to `take`: its fields as they are sent, big endian.
///
/// It takes a fraction of the time of reading them one by one.
///
/// # Errors
/// If the database fails, a field is NULL, or `take` finds a row to be none.
pub(super) async fn copy_out<const N: usize>(
    connection: &mut PgConnection,
    query: &str,
    mut take: impl FnMut([&[u8]; N]) -> Option<()>,
) -> Result<(), sqlx::Error> {
    let mut chunks = connection.copy_out_raw(&format!("COPY ({query}) TO STDOUT (FORMAT binary)")).await?;
    let mut unread = Unread::default();
    let mut chunk_number = 0_u64;
    // A chunk is a row, as a rule; nobody promises that.
    while let Some(chunk) = chunks.try_next().await? {
        unread.bytes.extend_from_slice(&chunk);
        unread.take_rows(&mut take)?;
        // What has arrived is read without a pause, and others wait on this thread.
        chunk_number += 1;
        if chunk_number.is_multiple_of(PAUSE_AFTER) {
            tokio::task::yield_now().await;
        }
    }
    // Less than there is must not be taken for all.
    if unread.is_at_end() { Ok(()) } else { Err(unexpected("no end")) }
}

/// What has arrived and has not been taken yet.
#[derive(Default)]
struct Unread {
    bytes: Vec<u8>,
    /// Whether the first row is next.
    is_begun: bool,
}

impl Unread {
    /// Takes all rows that are there as a whole.
    fn take_rows<const N: usize>(
        &mut self,
        mut take: impl FnMut([&[u8]; N]) -> Option<()>,
    ) -> Result<(), sqlx::Error> {
        let mut rest = self.bytes.as_slice();
        self.is_begun = self.is_begun || take_header(&mut rest).is_some();
        if self.is_begun {
            while let Some(fields) = take_row(&mut rest)? {
                take(fields).ok_or_else(|| unexpected("a row of another shape"))?;
            }
        }
        let taken = self.bytes.len() - rest.len();
        self.bytes.drain(..taken);
        Ok(())
    }

    /// Whether all rows have been taken, and no more will come.
    fn is_at_end(&self) -> bool {
        self.is_begun && self.bytes == END.to_be_bytes()
    }
}

/// Takes what is before the first row, if all of it is there.
fn take_header(rest: &mut &[u8]) -> Option<()> {
    // Flags tell nothing that concerns us.
    let after = rest.strip_prefix(SIGNATURE)?.get(4..)?;
    let (extension, after) = after.split_first_chunk::<4>()?;
    *rest = after.get(u32::from_be_bytes(*extension) as usize..)?;
    Some(())
}

/// Takes the fields of the next row; nothing, if it is not all there, or if there is none any more.
fn take_row<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<Option<[&'a [u8]; N]>, sqlx::Error> {
    let Some((columns, mut after)) = rest.split_first_chunk::<2>() else { return Ok(None) };
    match i16::from_be_bytes(*columns) {
        END => return Ok(None),
        columns if usize::try_from(columns) == Ok(N) => {}
        _ => return Err(unexpected("another number of columns")),
    }
    let mut fields = [[].as_slice(); N];
    for field in &mut fields {
        let Some((length, value)) = after.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| unexpected("a NULL"))?;
        let Some((value, next)) = value.split_at_checked(length) else { return Ok(None) };
        (*field, after) = (value, next);
    }
    *rest = after;
    Ok(Some(fields))
}

fn unexpected(what: &str) -> sqlx::Error {
    sqlx::Error::Protocol(format!("COPY sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows of two columns, as they are sent.
    fn sent() -> Vec<u8> {
        let mut copy = CopyIn::new("t", "a, b");
        copy.row(2).field(&7_i64.to_be_bytes()).field(&[1]);
        copy.row(2).field(&(-1_i64).to_be_bytes()).field(&[0]);
        copy.bytes.extend(END.to_be_bytes());
        copy.bytes
    }

    fn read<const N: usize>(chunks: &[&[u8]]) -> Result<Option<Vec<(i64, u8)>>, sqlx::Error> {
        let mut unread = Unread::default();
        let mut rows = Vec::new();
        for chunk in chunks {
            unread.bytes.extend_from_slice(chunk);
            unread.take_rows(|fields: [&[u8]; N]| {
                rows.push((i64::from_be_bytes(fields[0].try_into().ok()?), *fields.last()?.first()?));
                Some(())
            })?;
        }
        Ok(unread.is_at_end().then_some(rows))
    }

    #[test]
    fn rows_are_read_wherever_a_chunk_ends() {
        let sent = sent();
        for end in 0..=sent.len() {
            let (one, other) = sent.split_at(end);
            assert_eq!(read::<2>(&[one, other]).unwrap(), Some(vec![(7, 1), (-1, 0)]), "{end}");
        }
    }

    #[test]
    fn rows_that_break_off_are_not_taken_for_all() {
        let sent = sent();
        for end in 0..sent.len() {
            assert_eq!(read::<2>(&[&sent[..end]]).unwrap(), None, "{end}");
        }
        assert_eq!(read::<2>(&[b"something else"]).unwrap(), None);
    }

    #[test]
    fn rows_of_another_shape_are_refused() {
        let sent = sent();
        assert!(read::<3>(&[&sent]).is_err());
        assert!(read::<1>(&[&sent]).is_err());
        let head = [SIGNATURE.as_slice(), &[0; 8]].concat();
        let short: &[u8] = &[0, 1, 0, 0, 0, 1, 5];
        assert!(read::<1>(&[&head, short]).is_err(), "a field of another length");
        let null: &[u8] = &[0, 1, 255, 255, 255, 255];
        assert!(read::<1>(&[&head, null]).is_err());
    }
}
