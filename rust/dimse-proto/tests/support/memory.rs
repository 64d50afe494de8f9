//! An allocator that counts, so that a test can say how much was held at most.
#![allow(dead_code)] // not every program that counts needs both ways
#![expect(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn took(bytes: usize) {
    let held = HELD.get().wrapping_add(bytes);
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

fn gave(bytes: usize) {
    HELD.set(HELD.get().wrapping_sub(bytes));
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        gave(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks exist while bytes are copied, unless the block grows in place: count the worse.
        took(size);
        // SAFETY: as above.
        let moved = unsafe { System.realloc(memory, layout, size) };
        gave(layout.size());
        moved
    }
}

/// Where counting begins, so that freeing what was there before does not wrap.
const FLOOR: usize = usize::MAX / 2;

/// Most bytes held at a time on this thread during `work`, beyond what was held before.
pub(super) fn peak(work: impl FnOnce()) -> usize {
    HELD.set(FLOOR);
    PEAK.set(FLOOR);
    work();
    PEAK.get() - FLOOR
}

/// Bytes that `work` took on this thread and did not give back.
pub(super) fn kept(work: impl FnOnce()) -> usize {
    peak(work);
    HELD.get().saturating_sub(FLOOR)
}

#[test]
fn counts_what_is_held_at_most() {
    let before = vec![0_u8; 5000];
    let held = peak(|| {
        drop(std::hint::black_box(vec![0_u8; 1000]));
        drop(before);
        drop(std::hint::black_box(vec![0_u8; 3000]));
    });
    assert_eq!(held, 1000);
    let mut stays = Vec::new();
    assert_eq!(kept(|| stays = vec![0_u8; 700]), 700);
    assert_eq!(stays.len(), 700);
}
