//! Registries as they are reported to be, and what each route of the product makes of each of them: one table of data,
//! `zoo/registries.toml`, and what runs it. The table says in its head how it is read.
//!
//! - [`Table`]: registries, routes and what is expected
//! - [`run`]: each route against each registry, for each way that clients and registries know each other, on one store
//! - [`page`]: `docs/reference/registries.md`, made from the same table

mod cells;
mod ground;
mod lab;
mod page;
mod play;
mod run;
mod steps;
mod table;

pub use self::cells::Mode;
pub use self::ground::Ground;
pub use self::page::page;
pub use self::run::{Report, run};
pub use self::table::Table;
