//! A JSON object that is signed, or says how something is signed. Readers of JSON differ in which of two members of one name they
//! take (RFC 8259 section 4), so what an issuer has checked need not be what we read: such an object says so (RFC 7519 section 4).

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// An object, member by member.
#[derive(Debug)]
pub(super) struct JsonObject {
    members: BTreeMap<String, Value>,
    /// Whether a name stands there twice.
    pub(super) has_repeated: bool,
}

impl JsonObject {
    /// Reads an object and nothing else.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// A member that is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = JsonObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonObject, A::Error> {
                let mut object = JsonObject { members: BTreeMap::new(), has_repeated: false };
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    object.has_repeated |= object.members.insert(name, value).is_some();
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(Members)
    }
}
