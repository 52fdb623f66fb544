//! How many installations a Pod may add to a window. It keeps a Pod that invents installations from
//! outnumbering the others.

use shared::size::SizeBin;

/// Installations for each account of a Pod. A user with a phone, a tablet and some browsers stays well below.
pub const PER_ACCOUNT: u64 = 10;

/// The most installations that count for a Pod of this size. A Pod that declares none, and an XMPP server with
/// direct clients, may be as large as the largest: a lower limit would stop nobody who can declare a size, and
/// would bend the shares of everybody where a large Pod declares none.
pub fn allowance(size: Option<SizeBin>) -> u64 {
    u64::from(size.unwrap_or(SizeBin::of(SizeBin::LAST_MIN)).greatest()) * PER_ACCOUNT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_may_have_ten_installations_for_each_account_of_its_bin() {
        assert_eq!(allowance(Some(SizeBin::of(3))), 40);
        assert_eq!(allowance(Some(SizeBin::of(30))), 490);
        assert!(allowance(None) >= allowance(Some(SizeBin::of(90_000))));
    }
}
