//! The one tokio runtime of the process.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

static RUNTIME: OnceLock<(Runtime, u32)> = OnceLock::new();

/// The runtime, started on first use.
///
/// # Panics
/// When the operating system refuses threads; and in a forked child, where the threads do not exist: see
/// [`is_foreign`].
#[expect(
    clippy::expect_used,
    reason = "without I/O threads nothing can be done at all"
)]
pub fn handle() -> &'static Handle {
    RUNTIME
        .get_or_init(|| {
            let runtime = Builder::new_multi_thread()
                .thread_name("dimse-net")
                .enable_all()
                .build()
                .expect("the operating system gives threads and an event queue");
            (runtime, std::process::id())
        })
        .0
        .handle()
}

/// Whether the runtime was started by a parent process: threads do not survive `fork`, so nothing can run here.
#[must_use]
pub fn is_foreign() -> bool {
    RUNTIME
        .get()
        .is_some_and(|(_, started_by)| *started_by != std::process::id())
}

/// The first address of a name.
///
/// # Errors
/// When the name cannot be looked up.
pub async fn lookup(host: &str, port: u16) -> std::io::Result<Option<std::net::SocketAddr>> {
    Ok(tokio::net::lookup_host((host, port)).await?.next())
}
