//! `acquisition.pod_domain`: the domain of a Pod whose operator opted in. It is listed, never counted.

use super::{DataPoint, Declaration, Options};
use crate::event::Pod;

/// The domain of a Pod.
#[derive(Debug)]
pub enum PodDomain {}

impl DataPoint for PodDomain {
    type In = Pod;

    const DECLARATION: Declaration = Declaration {
        key: "acquisition.pod_domain",
        identifies: true,
        fields: &["origin.pod.identifiable.domain"],
        normal_form: "a host name in lower-case ASCII",
        question: "Which companies host Prose?",
        since: "0.1.0",
        options: &[],
        on_in: &[],
        family: None,
    };

    fn share(_: Options<'_>, from: &Pod, to: &mut Pod) {
        to.identifiable.clone_from(&from.identifiable);
    }
}
