//! How many installations a Pod may add to a window. It keeps a Pod that invents installations from
//! outnumbering the others.

use shared::size::SizeBin;

/// Installations for each account of a Pod. A user with a phone, a tablet and some browsers stays well below.
pub const PER_ACCOUNT: u64 = 10;
/// Installations of a Pod that does not report its size, and of an XMPP server with direct clients.
pub const UNDECLARED: u64 = 5_000;

/// The most installations that count for a Pod of this size.
pub fn allowance(size: Option<SizeBin>) -> u64 {
    size.map_or(UNDECLARED, |bin| u64::from(bin.greatest()) * PER_ACCOUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_may_have_ten_installations_for_each_account_of_its_bin() {
        assert_eq!(allowance(Some(SizeBin::of(3))), 40);
        assert_eq!(allowance(Some(SizeBin::of(30))), 490);
        assert_eq!(allowance(None), 5_000);
    }
}
