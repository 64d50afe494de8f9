//! The targets of `dimse-net`.
//!
//! | target | law |
//! |---|---|
//! | `scu_responses` | whatever a peer answers, in whatever pieces: one end for each request, and the same one |
//! | `uid_path` | whatever the UIDs are, a file is where it should be in the folder, or nowhere |

mod paths;
mod responses;

pub use paths::uid_path;
pub use responses::scu_responses;
