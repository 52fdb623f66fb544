//! The list of data points → what follows from it at compile time.

/// Makes [`REGISTRY`](super::REGISTRY) and the two implementations of [`Reporter`](super::Reporter). Every call to a data
/// point is static: this runs for each event.
macro_rules! registry {
    (
        counted in Pod: $($(#[$pod_cfg:meta])* $pod:ident),+;
        counted in App: $($(#[$app_cfg:meta])* $app:ident),+;
        listed in Pod: $($(#[$listed_cfg:meta])* $listed:ident),+;
    ) => {
        /// Every data point there is.
        pub const REGISTRY: &[Registered] = &[
            $($(#[$pod_cfg])* Registered { unit: Unit::Pod, declaration: $pod::DECLARATION },)+
            $($(#[$app_cfg])* Registered { unit: Unit::Installation, declaration: $app::DECLARATION },)+
            $($(#[$listed_cfg])* Registered { unit: Unit::Domain, declaration: $listed::DECLARATION },)+
        ];

        impl Reporter for Pod {
            type Codes = [u64; Self::COUNTED.len()];
            const UNIT: Unit = Unit::Pod;
            const COUNTED: &'static [CountedPoint] = &[$($(#[$pod_cfg])* counted::<$pod>(),)+];
            const SHARED: &'static [SharedPoint<Self>] =
                &[$($(#[$pod_cfg])* shared::<$pod>(),)+ $($(#[$listed_cfg])* shared::<$listed>(),)+];

            fn codes(&self) -> Result<Self::Codes, Unfit> {
                Ok([$($(#[$pod_cfg])* $pod::value(self)?.to_code(),)+])
            }

            fn merge(&mut self, other: &Self) {
                $($(#[$pod_cfg])* $pod::merge(self, other);)+
            }
        }

        impl Reporter for App {
            type Codes = [u64; Self::COUNTED.len()];
            const UNIT: Unit = Unit::Installation;
            const COUNTED: &'static [CountedPoint] = &[$($(#[$app_cfg])* counted::<$app>(),)+];
            const SHARED: &'static [SharedPoint<Self>] = &[$($(#[$app_cfg])* shared::<$app>(),)+];

            fn codes(&self) -> Result<Self::Codes, Unfit> {
                Ok([$($(#[$app_cfg])* $app::value(self)?.to_code(),)+])
            }

            fn merge(&mut self, other: &Self) {
                $($(#[$app_cfg])* $app::merge(self, other);)+
            }
        }
    };
}
pub(super) use registry;
