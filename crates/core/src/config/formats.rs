//! How values are written, for the JSON Schema: patterns of what the parsers of these types accept.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::cache::{OBJECT_STORES, StoreAddress};
use super::egress::Egress;
use super::events::ReceiverUrl;
use super::tag_rule::Revalidate;
use super::units::{Bytes, SIZES, SPANS, Span};
use crate::secret::Secret;

macro_rules! formats {
    ($($type:ident: $schema:tt)*) => {$(
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

formats! {
    Secret: { "type": "string" }
    Span: { "type": "string", "pattern": format!("^{}$", quantity(&SPANS)) }
    Bytes: { "type": ["integer", "string"], "minimum": 0, "pattern": format!("^{}$", quantity(&SIZES)) }
    Revalidate: { "type": "string", "pattern": format!("^(always|never|{})$", quantity(&SPANS)) }
    StoreAddress: {
        "type": "string",
        "pattern": format!("^(auto|none|memory:?|file:///.*|({})://[^/?#@]+([/?#].*)?)$", OBJECT_STORES.join("|"))
    }
    ReceiverUrl: { "type": "string", "pattern": "^https?://" }
    Egress: { "type": "string", "pattern": "^(none|(https?|socks5h?)://[^/?#]+/?)$" }
}

/// A whole number and its unit, in either case.
fn quantity(units: &[(&str, u64)]) -> String {
    let either_case = |letter: char| format!("[{}{letter}]", letter.to_ascii_lowercase());
    let units: Vec<String> =
        units.iter().map(|(unit, _)| unit.to_ascii_uppercase().chars().map(either_case).collect()).collect();
    format!(r"\s*[0-9]+\s*({})\s*", units.join("|"))
}
