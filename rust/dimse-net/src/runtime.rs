//! The one tokio runtime of the process.

use std::panic;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::{Builder, Handle, Runtime};

static RUNTIME: OnceLock<(Runtime, u32)> = OnceLock::new();

static PANICS: AtomicU64 = AtomicU64::new(0);

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
            count_panics();
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

/// Panics of this library since the runtime was started, on whatever thread, caught or not. Each is a fault of
/// ours, whatever a peer sent.
#[must_use]
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

fn count_panics() {
    // The hook of the program, or Rust's own, still prints the panic.
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(panic);
    }));
}

/// Tasks that are alive: one or more for each connection and each server, none for what is over.
#[must_use]
pub fn alive_tasks() -> usize {
    handle().metrics().num_alive_tasks()
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

#[cfg(test)]
#[allow(clippy::panic, reason = "on demand")]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_task_is_counted() {
        let handle = handle();
        let before = panics();
        let task = handle.spawn(async { panic!("on demand") });
        assert!(handle.block_on(task).is_err());
        assert!(panics() > before);
    }
}
