//! The codes of a reporter's data points ↔ the bytes of its record. Pure.
//!
//! Each code takes as many bytes as its greatest value needs, big-endian, in the order of the registry. So
//! bytes compare as the codes do, and data points that are added later come after the existing ones.

use shared::data_point::{CountedPoint, Reporter};
use shared::event::{App, Pod};

/// The codes of an installation.
pub type InstallationCodes = [u8; length(App::COUNTED)];
/// The codes of a Pod.
pub type PodCodes = [u8; length(Pod::COUNTED)];

/// How many bytes the codes of these data points take.
const fn length(points: &[CountedPoint]) -> usize {
    let (mut length, mut n) = (0, 0);
    while n < points.len() {
        length += points[n].bytes;
        n += 1;
    }
    length
}

/// Codes as bytes.
pub fn pack<R: Reporter, const N: usize>(codes: &R::Codes) -> [u8; N] {
    let mut bytes = [0; N];
    let mut rest = bytes.as_mut_slice();
    for (code, point) in codes.as_ref().iter().zip(R::COUNTED) {
        let (field, others) = rest.split_at_mut(point.bytes);
        field.copy_from_slice(&code.to_be_bytes()[8 - point.bytes..]);
        rest = others;
    }
    bytes
}

/// Bytes as codes.
pub fn unpack<R: Reporter>(mut bytes: &[u8]) -> R::Codes {
    let mut codes = R::Codes::default();
    for (code, point) in codes.as_mut().iter_mut().zip(R::COUNTED) {
        let (field, others) = bytes.split_at(point.bytes);
        *code = field.iter().fold(0, |code, byte| code << 8 | u64::from(*byte));
        bytes = others;
    }
    codes
}

/// Takes the greater of each pair of codes.
pub fn merge<R: Reporter>(mut kept: &mut [u8], mut other: &[u8]) {
    for point in R::COUNTED {
        let (ours, our_rest) = kept.split_at_mut(point.bytes);
        let (theirs, their_rest) = other.split_at(point.bytes);
        if *theirs > *ours {
            ours.copy_from_slice(theirs);
        }
        (kept, other) = (our_rest, their_rest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Codes of an installation, of any size that fits.
    fn some_codes() -> impl Strategy<Value = <App as Reporter>::Codes> {
        let code = |point: &CountedPoint| 0..=u64::MAX >> (64 - 8 * point.bytes);
        let codes: Vec<_> = App::COUNTED.iter().map(code).collect();
        codes.prop_map(|codes| codes.try_into().unwrap())
    }

    proptest! {
        #[test]
        fn bytes_give_back_their_codes_and_merge_as_they_do(ours in some_codes(), theirs in some_codes()) {
            let mut kept: InstallationCodes = pack::<App, _>(&ours);
            prop_assert_eq!(unpack::<App>(&kept), ours);
            merge::<App>(&mut kept, &pack::<App, { size_of::<InstallationCodes>() }>(&theirs));
            let greater: Vec<_> = ours.iter().zip(&theirs).map(|(ours, theirs)| *ours.max(theirs)).collect();
            prop_assert_eq!(unpack::<App>(&kept).to_vec(), greater);
        }
    }

    /// Records of open windows depend on this: appending to the registry changes nothing before it.
    #[test]
    fn the_codes_that_versions_before_have_written_come_first() {
        let of = |points: &[CountedPoint]| -> Vec<_> {
            points.iter().map(|point| (point.declaration.key, point.bytes)).collect()
        };
        let installation =
            [("usage.user_app_version", 8), ("usage.user_platform", 2), ("usage.user_lang", 4)];
        assert!(of(App::COUNTED).starts_with(&installation), "{:?}", of(App::COUNTED));
        assert!(of(Pod::COUNTED).starts_with(&[("usage.pod_version", 7), ("usage.meta_user_count", 3)]));
    }
}
