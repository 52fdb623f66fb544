//! The families: each is one question over one population, with the tree along which its cells are folded.

use shared::data_point::{Counted, CountedPoint, Path, Reporter, Unit};
use shared::event::{App, Pod};

use super::cohort::Cohort;
use super::fold::Tree;
use super::threshold::Rule;
use crate::window::Population;

/// One question over one population: how many reporters exist, or what they say in one data point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family(u8);

/// How many families there are.
const FAMILIES: usize = 2 + Pod::COUNTED.len() + App::COUNTED.len();

impl Family {
    /// The number of Pods.
    pub const PODS: Self = Self(0);
    /// The number of installations.
    pub const INSTALLATIONS: Self = Self(1 + Pod::COUNTED.len() as u8);

    /// Every family, those of Pods first.
    pub const ALL: [Self; FAMILIES] = {
        let mut all = [Self::PODS; FAMILIES];
        let mut place = 0;
        while place < FAMILIES {
            all[place] = Self(place as u8);
            place += 1;
        }
        all
    };

    /// The family of a data point.
    ///
    /// # Panics
    /// If the registry does not name it.
    pub fn of<P: Counted>() -> Self {
        let key = P::DECLARATION.key;
        let of = |family: &Self| family.point().is_some_and(|point| point.declaration.key == key);
        Self::ALL.into_iter().find(of).expect("the registry names every data point")
    }

    /// The data point that it is about; `None` if it is only a total.
    pub fn point(self) -> Option<&'static CountedPoint> {
        let (points, everybody) = match self.unit() {
            Unit::Installation => (App::COUNTED, Self::INSTALLATIONS),
            Unit::Pod | Unit::Domain => (Pod::COUNTED, Self::PODS),
        };
        points.get(usize::from(self.0.checked_sub(everybody.0 + 1)?))
    }

    /// The unit that it counts.
    pub fn unit(self) -> Unit {
        if self < Self::INSTALLATIONS { Unit::Pod } else { Unit::Installation }
    }

    /// Its index in [`Self::ALL`].
    pub(crate) const fn place(self) -> usize {
        self.0 as usize
    }

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self.point() {
            Some(point) => point.family.name,
            None if self == Self::PODS => "pods",
            None => "installations",
        }
    }

    /// The family of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.as_str() == name)
    }

    /// The rule that makes its cohorts safe; it follows from the unit.
    pub fn rule(self) -> Rule {
        match self.unit() {
            Unit::Pod | Unit::Domain => Rule::Pods,
            Unit::Installation => Rule::Installations,
        }
    }

    /// The families of a population. Direct clients have no Pods.
    pub fn of_population(population: Population) -> impl Iterator<Item = Self> {
        Self::ALL
            .into_iter()
            .filter(move |family| population == Population::Pod || family.rule() == Rule::Installations)
    }
}

impl std::fmt::Debug for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The tree of some values, from their paths and cohorts.
pub(super) fn tree(cells: impl IntoIterator<Item = (Path, Cohort)>) -> Tree {
    let mut tree = Tree::default();
    for (path, cohort) in cells {
        match path {
            Path::Labels(labels) => tree.add(&labels, cohort),
            Path::Bin { row, least, greatest } => tree.add_bin(row, least, greatest, cohort),
        }
    }
    tree
}

#[cfg(test)]
mod tests {
    use shared::data_point::{MetaUserCount, UserLang};

    use super::*;

    #[test]
    fn direct_clients_have_no_families_of_pods() {
        let of_direct = Family::of_population(Population::Direct);
        assert!(of_direct.into_iter().all(|family| family.unit() == Unit::Installation));
        assert_eq!(Family::of_population(Population::Pod).count(), Family::ALL.len());
    }

    #[test]
    fn each_family_is_known_by_its_name_and_its_data_point() {
        let known = |name: &str| Family::parse(name).unwrap();
        assert_eq!((known("pods"), known("installations")), (Family::PODS, Family::INSTALLATIONS));
        assert_eq!(Family::of::<MetaUserCount>(), known("pod_sizes"));
        assert_eq!(Family::of::<UserLang>(), known("languages"));
        for family in Family::ALL {
            assert_eq!(known(family.as_str()), family);
            assert_eq!(family.point().is_none(), family == Family::PODS || family == Family::INSTALLATIONS);
        }
    }
}
