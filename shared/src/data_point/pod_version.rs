//! `usage.pod_version`: which version a Pod runs.

use super::{Counted, DataPoint, Declaration, Family, Options, Path, Shape, Unfit, version_path};
use crate::event::{Observed, Pod};
use crate::preset::Named;
use crate::version::Version;

/// The version of a Pod.
#[derive(Debug)]
pub enum PodVersion {}

impl DataPoint for PodVersion {
    type In = Pod;

    const DECLARATION: Declaration = Declaration {
        key: "usage.pod_version",
        identifies: false,
        fields: &["origin.pod.version"],
        normal_form: "SemVer; pre-release `alpha`, `beta` or `rc` with a number up to 99; build metadata dropped",
        question: "Which versions of Pods are running in the wild?",
        since: "0.1.0",
        options: &[],
        on_in: &[Named::Gdpr, Named::Lgpd],
        family: Some(Family {
            name: "pod_versions",
            title: "Pod versions",
            value: "Version",
            shape: Shape::Versions { of_each_app: false },
            examples: &["0.5.0", "0.5.1"],
            reader_label: |_| None,
        }),
    };

    fn share(_: Options<'_>, from: &Pod, to: &mut Pod) {
        to.version = from.version;
    }
}

impl Counted for PodVersion {
    type Value = Option<Observed<Version>>;

    fn value(said: &Pod) -> Result<Self::Value, Unfit> {
        Ok(said.version)
    }

    fn path(value: Self::Value) -> Path {
        Path::observed(value, version_path)
    }
}
