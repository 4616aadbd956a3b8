//! Everything that is counted. One ledger serves every configuration that a process has one after the other.

use super::clients::ClientTable;
use super::peers::Peers;
use super::window::Tally;

/// Everything that is counted.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By client.
    pub(super) clients: ClientTable,
    /// All clients together.
    pub(super) total: Tally,
    /// What other instances counted.
    pub(super) peers: Peers,
}
