//! Enums whose values have names.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserializer, de};

/// Declares an enum with the name of each value in tables, settings and commands. Generates `ALL`, `NAMES`, `name`, `Display`,
/// `FromStr` and serde by name.
#[macro_export]
macro_rules! names {
    ($(#[$about:meta])* $visibility:vis enum $Enum:ident {
        $($(#[$about_value:meta])* $Value:ident = $name:literal,)+
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility enum $Enum {
            $($(#[$about_value])* $Value,)+
        }

        impl $Enum {
            /// The names in tables, settings and commands.
            pub const NAMES: [&'static str; [$($name),+].len()] = [$($name),+];

            /// In declaration order.
            pub const ALL: [$Enum; Self::NAMES.len()] = [$($Enum::$Value),+];

            /// The name in tables, settings and commands.
            pub const fn name(self) -> &'static str {
                Self::NAMES[self as usize]
            }
        }

        impl std::fmt::Display for $Enum {
            fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $Enum {
            type Err = String;

            fn from_str(name: &str) -> Result<$Enum, String> {
                let found = Self::ALL.into_iter().find(|known| known.name() == name);
                found.ok_or_else(|| $crate::text::expected_one_of(name, &Self::NAMES))
            }
        }

        impl $crate::serde::Serialize for $Enum {
            fn serialize<S: $crate::serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_str(self.name())
            }
        }

        impl<'de> $crate::serde::Deserialize<'de> for $Enum {
            fn deserialize<D: $crate::serde::Deserializer<'de>>(from: D) -> Result<$Enum, D::Error> {
                $crate::deserialize_name(from)
            }
        }
    };
}

/// Deserializes a value by name; used by [`names!`](crate::names).
pub fn deserialize_name<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: FromStr<Err = String>,
    D: Deserializer<'de>,
{
    struct Name<T>(PhantomData<T>);

    impl<T: FromStr<Err = String>> de::Visitor<'_> for Name<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a name")
        }

        fn visit_str<E: de::Error>(self, name: &str) -> Result<T, E> {
            name.parse().map_err(E::custom)
        }
    }

    from.deserialize_str(Name(PhantomData))
}

#[cfg(test)]
mod tests {
    use serde::{
        Deserialize,
        de::value::{Error, StrDeserializer},
    };

    crate::names! {
        /// An example.
        #[derive(Default)]
        enum Fruit {
            Apple = "apple",
            #[default]
            SweetLemon = "sweet-lemon",
        }
    }

    #[test]
    fn values_are_parsed_by_name() {
        assert_eq!(Fruit::ALL, [Fruit::Apple, Fruit::default()]);
        assert_eq!(Fruit::NAMES, ["apple", "sweet-lemon"]);
        for fruit in Fruit::ALL {
            assert_eq!(fruit.name().parse(), Ok(fruit));
            assert_eq!(fruit.to_string(), fruit.name());
            let read = Fruit::deserialize(StrDeserializer::<Error>::new(fruit.name()));
            assert_eq!(read.unwrap(), fruit);
        }
        assert_eq!(
            "aple".parse::<Fruit>().unwrap_err(),
            "expected one of apple, sweet-lemon (did you mean `apple`?)"
        );
        let read = Fruit::deserialize(StrDeserializer::<Error>::new("Apple"));
        let error = read.unwrap_err().to_string();
        assert!(error.starts_with("expected one of"));
    }
}
