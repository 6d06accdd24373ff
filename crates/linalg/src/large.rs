//! Memory of large vectors, in pages of its own.
//!
//! Hidden states and sums are vectors of megabytes that come and go with every part of a model. From a heap
//! they would come in pages of four kilobytes, each of which the system clears when it is first touched, and
//! what is freed would stay resident until another vector fits into it. Here a large vector is a mapping of
//! its own: in large pages, where the system has them, and given back as soon as it is freed, so that what a
//! plan counts is what is resident.

#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use std::alloc::{GlobalAlloc, Layout, System};

/// An allocator: mappings for what is large, and the system's heap for the rest.
pub struct LargePages;

// SAFETY: memory comes from the system's allocator, or from a mapping that is as long as asked for and belongs
// to nobody else. Which of the two is decided by the layout alone, and that is the same when it is given back.
unsafe impl GlobalAlloc for LargePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match is_large(layout) {
            true => mapping::new(layout.size()),
            // SAFETY: as the caller promises.
            false => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match is_large(layout) {
            // A new mapping is all zeros.
            true => mapping::new(layout.size()),
            // SAFETY: as the caller promises.
            false => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        match is_large(layout) {
            // SAFETY: it is a mapping of this size, as its layout says.
            true => unsafe { mapping::remove(memory, layout.size()) },
            // SAFETY: as the caller promises.
            false => unsafe { System.dealloc(memory, layout) },
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size is valid with this alignment.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (is_large(layout), is_large(new)) {
            // SAFETY: as the caller promises.
            (false, false) => unsafe { System.realloc(memory, layout, size) },
            // SAFETY: it is a mapping of this size, as its layout says.
            (true, true) => unsafe { mapping::resize(memory, layout.size(), size) },
            _ => {
                // SAFETY: the new layout is valid.
                let moved = unsafe { self.alloc(new) };
                if !moved.is_null() {
                    // SAFETY: both are as long, and apart; the old one is given back once.
                    unsafe {
                        moved.copy_from_nonoverlapping(memory, layout.size().min(size));
                        self.dealloc(memory, layout);
                    }
                }
                moved
            }
        }
    }
}

/// From here on, what is allocated is a mapping.
const LARGE: usize = 2 << 20;

fn is_large(layout: Layout) -> bool {
    cfg!(target_os = "linux") && layout.size() >= LARGE && layout.align() <= 4096
}

#[cfg(target_os = "linux")]
mod mapping {
    use rustix::mm::{Advice, MapFlags, MremapFlags, ProtFlags};
    use rustix::mm::{madvise, mmap_anonymous, mremap, munmap};
    use std::ptr::null_mut;

    /// Null, if there is none.
    pub(super) fn new(size: usize) -> *mut u8 {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: at an address of the system's choice nothing is mapped yet.
        let made = unsafe { mmap_anonymous(null_mut(), size, access, MapFlags::PRIVATE) };
        let Ok(memory) = made else { return null_mut() };
        in_large_pages(memory.cast(), size);
        memory.cast()
    }

    /// # Safety
    /// It is a mapping of this size, and nobody uses it any more.
    pub(super) unsafe fn remove(memory: *mut u8, size: usize) {
        // SAFETY: as the caller promises. It fails for no mapping that there is.
        let _ = unsafe { munmap(memory.cast(), size) };
    }

    /// Null, if there is none; the old one is as it was then.
    ///
    /// # Safety
    /// It is a mapping of this size, and nobody uses it by the old address any more.
    pub(super) unsafe fn resize(memory: *mut u8, old: usize, new: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        let moved = unsafe { mremap(memory.cast(), old, new, MremapFlags::MAYMOVE) };
        let Ok(memory) = moved else { return null_mut() };
        in_large_pages(memory.cast(), new);
        memory.cast()
    }

    /// Asks for large pages wherever a whole one lies in the mapping: of all of it, since a mapping whose parts
    /// differ can no longer be resized. That the system may have none does not matter.
    fn in_large_pages(memory: *mut u8, size: usize) {
        // SAFETY: advice about pages of this mapping changes nothing that they hold.
        let _ = unsafe { madvise(memory.cast(), size, Advice::LinuxHugepage) };
    }
}

#[cfg(not(target_os = "linux"))]
mod mapping {
    use std::ptr::null_mut;

    pub(super) fn new(_: usize) -> *mut u8 {
        null_mut()
    }

    pub(super) unsafe fn remove(_: *mut u8, _: usize) {}

    pub(super) unsafe fn resize(_: *mut u8, _: usize, _: usize) -> *mut u8 {
        null_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_and_shrinks_across_the_border_keeps_what_it_held() {
        let layout = |size| Layout::from_size_align(size, 8).expect("a layout");
        let sizes = [100, LARGE - 8, LARGE, 5 * LARGE + 24, 3 * LARGE, LARGE - 8, 64];
        // SAFETY: every access is within the size of the moment, and memory is given back once.
        unsafe {
            let mut memory = LargePages.alloc_zeroed(layout(sizes[0]));
            memory.write(7);
            memory.add(63).write(9);
            for pair in sizes.windows(2) {
                memory = LargePages.realloc(memory, layout(pair[0]), pair[1]);
                assert!(!memory.is_null());
                assert_eq!((memory.read(), memory.add(63).read()), (7, 9), "{pair:?}");
                memory.add(pair[1] - 1).write(1);
                memory.add(63).write(9);
            }
            LargePages.dealloc(memory, layout(sizes[sizes.len() - 1]));
        }
    }

    #[test]
    fn large_memory_is_zero_at_first() {
        let layout = Layout::from_size_align(3 * LARGE + 5, 64).expect("a layout");
        // SAFETY: it is read within its size.
        unsafe {
            for _ in 0..3 {
                let memory = LargePages.alloc_zeroed(layout);
                let bytes = std::slice::from_raw_parts_mut(memory, layout.size());
                assert!(bytes.iter().all(|&byte| byte == 0));
                bytes.fill(1);
                LargePages.dealloc(memory, layout);
            }
        }
    }
}
