//! `usage.meta_user_count`: how many accounts a Pod has, as a size bin.

use super::{Counted, DataPoint, Declaration, Family, NOT_REPORTED, Options, Path, Shape, Unfit};
use crate::event::Pod;
use crate::preset::Named;
use crate::size::SizeBin;

/// The size of a Pod.
#[derive(Debug)]
pub enum MetaUserCount {}

impl DataPoint for MetaUserCount {
    type In = Pod;

    const DECLARATION: Declaration = Declaration {
        key: "usage.meta_user_count",
        identifies: false,
        fields: &[
            "origin.pod.user_count_min",
            "origin.pod.user_count_max",
            "origin.pod.user_count_range",
            "origin.pod.user_count_range_open",
        ],
        normal_form: "a size bin: 0–4, 5–9, 10–19, 20–49, 50–99, then by hundreds",
        question: "What size are the companies that use Prose?",
        since: "0.1.0",
        options: &[],
        on_in: &[Named::Gdpr, Named::Lgpd],
        family: Some(Family {
            name: "pod_sizes",
            title: "Company sizes",
            value: "Accounts",
            shape: Shape::Bins { title: "Sizes of Pods" },
            examples: &["20–49"],
            reader_label: |_| None,
        }),
    };

    fn share(_: Options<'_>, from: &Pod, to: &mut Pod) {
        to.user_count_min = from.user_count_min;
        to.user_count_max = from.user_count_max;
        to.user_count_range.clone_from(&from.user_count_range);
        to.user_count_range_open.clone_from(&from.user_count_range_open);
    }
}

impl Counted for MetaUserCount {
    type Value = Option<SizeBin>;

    fn value(said: &Pod) -> Result<Self::Value, Unfit> {
        said.size().map_err(|_| Unfit {
            label: "not_a_bin",
            problem: "`origin.pod.user_count_min` and `user_count_max` must be the bounds of a size bin",
        })
    }

    fn path(value: Self::Value) -> Path {
        value.map_or_else(
            || Path::of([NOT_REPORTED]),
            |bin| Path::Bin { row: "size", least: bin.least(), greatest: bin.greatest() },
        )
    }
}
