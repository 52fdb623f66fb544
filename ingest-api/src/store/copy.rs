//! Many rows at a time, in the binary format of `COPY` (PostgreSQL manual, "COPY", "Binary Format").

use futures_util::TryStreamExt;
use sqlx::PgConnection;

/// How each stream of rows begins.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// In the place of a row's number of columns: there is none any more.
const END: i16 = -1;

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
    let mut unread = Vec::new();
    let mut is_begun = false;
    // A chunk is a row, as a rule; nobody promises that.
    while let Some(chunk) = chunks.try_next().await? {
        unread.extend_from_slice(&chunk);
        let mut rest = unread.as_slice();
        is_begun = is_begun || take_header(&mut rest).is_some();
        while is_begun {
            match take_row(rest)? {
                Some((fields, after)) => {
                    take(fields).ok_or_else(|| unexpected("a row of another shape"))?;
                    rest = after;
                }
                None => break,
            }
        }
        let read = unread.len() - rest.len();
        unread.drain(..read);
    }
    Ok(())
}

/// Takes what is before the first row, if all of it is there.
fn take_header(rest: &mut &[u8]) -> Option<()> {
    // Flags tell nothing that concerns us.
    let after = rest.strip_prefix(SIGNATURE)?.get(4..)?;
    let (extension, after) = after.split_first_chunk::<4>()?;
    *rest = after.get(u32::from_be_bytes(*extension) as usize..)?;
    Some(())
}

/// The fields of the first row and what is after it; `None` if it is not all there, or was the last.
fn take_row<const N: usize>(bytes: &[u8]) -> Result<Option<([&[u8]; N], &[u8])>, sqlx::Error> {
    let Some((columns, mut rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
    match i16::from_be_bytes(*columns) {
        END => return Ok(None),
        columns if usize::try_from(columns) == Ok(N) => {}
        _ => return Err(unexpected("another number of columns")),
    }
    let mut fields = [[].as_slice(); N];
    for field in &mut fields {
        let Some((length, after)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = i32::from_be_bytes(*length);
        let length = usize::try_from(length).map_err(|_| unexpected("a NULL"))?;
        let Some((value, after)) = after.split_at_checked(length) else { return Ok(None) };
        (*field, rest) = (value, after);
    }
    Ok(Some((fields, rest)))
}

fn unexpected(what: &str) -> sqlx::Error {
    sqlx::Error::Protocol(format!("COPY sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_wherever_it_breaks_off() {
        let mut copy = CopyIn::new("t", "a, b");
        copy.row(2).field(&7_i64.to_be_bytes()).field(&[1]);
        let mut rest = copy.bytes.as_slice();
        take_header(&mut rest).unwrap();
        let ([a, b], after) = take_row::<2>(rest).unwrap().unwrap();
        assert_eq!((a, b, after), (7_i64.to_be_bytes().as_slice(), [1].as_slice(), [].as_slice()));
        for length in 0..rest.len() {
            assert!(take_row::<2>(&rest[..length]).unwrap().is_none(), "{length}");
        }
        for length in 0..copy.bytes.len() - rest.len() {
            assert!(take_header(&mut &copy.bytes[..length]).is_none(), "{length}");
        }
        assert!(take_row::<2>(&END.to_be_bytes()).unwrap().is_none());
        assert!(take_row::<3>(rest).is_err());
        let null = [0, 1, 255, 255, 255, 255];
        assert!(take_row::<1>(&null).is_err());
    }
}
