//! Derived bytes, each made at most once and shared by every reader.
//!
//! A list that only grows, read without a lock: few forms are ever made of one object (served JSON, protobuf, a
//! table row, a watch frame), so a walk is cheaper than any map.

use std::sync::OnceLock;

use bytes::Bytes;
use parking_lot::Mutex;

/// The derived bytes of one [`Entry`](crate::Entry) or [`Event`](crate::Event), by id. Ids are the caller's own.
#[derive(Default)]
pub struct Forms {
    first: OnceLock<Box<Form>>,
}

struct Form {
    id: u64,
    bytes: OnceLock<Bytes>,
    /// Held while the bytes are made, so that they are made once.
    making: Mutex<()>,
    next: OnceLock<Box<Form>>,
}

// === impl Forms ===

impl Forms {
    /// The bytes filed under `id`, made by `make` if nobody has yet. A failure is not remembered.
    ///
    /// Others who ask for the same form wait for it; `make` may ask for other forms, never for the same.
    pub fn get_or_make<E>(&self, id: u64, make: impl FnOnce() -> Result<Bytes, E>) -> Result<Bytes, E> {
        let form = self.form(id);
        if let Some(bytes) = form.bytes.get() {
            return Ok(bytes.clone());
        }
        let _making = form.making.lock();
        if let Some(bytes) = form.bytes.get() {
            return Ok(bytes.clone());
        }
        let bytes = make()?;
        Ok(form.bytes.get_or_init(|| bytes).clone())
    }

    /// The bytes filed under `id` if they were made already.
    pub fn get(&self, id: u64) -> Option<Bytes> {
        let mut at = self.first.get();
        while let Some(form) = at {
            if form.id == id {
                return form.bytes.get().cloned();
            }
            at = form.next.get();
        }
        None
    }

    fn form(&self, id: u64) -> &Form {
        let mut place = &self.first;
        loop {
            let form = place.get_or_init(|| {
                Box::new(Form { id, bytes: OnceLock::new(), making: Mutex::new(()), next: OnceLock::new() })
            });
            if form.id == id {
                return form;
            }
            place = &form.next;
        }
    }
}

impl std::fmt::Debug for Forms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut list = f.debug_list();
        let mut at = self.first.get();
        while let Some(form) = at {
            list.entry(&(form.id, form.bytes.get().map(Bytes::len)));
            at = form.next.get();
        }
        list.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn bytes(text: &'static str) -> impl FnOnce() -> Result<Bytes, Infallible> {
        move || Ok(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_form_is_made_once_and_shared_between_threads() {
        let forms = Forms::default();
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (forms, made) = (&forms, &made);
                scope.spawn(move || {
                    for id in 0..4 {
                        let id = (id + thread) % 4;
                        let got = forms.get_or_make(id, || {
                            made.fetch_add(1, Ordering::Relaxed);
                            Ok::<_, Infallible>(Bytes::from(id.to_string()))
                        });
                        assert_eq!(got, Ok(Bytes::from(id.to_string())));
                    }
                });
            }
        });
        assert_eq!(made.into_inner(), 4);
    }

    #[test]
    fn a_failure_is_not_remembered() {
        let forms = Forms::default();
        assert_eq!(forms.get_or_make(1, || Err("no")), Err("no"));
        assert_eq!(forms.get(1), None);
        assert_eq!(forms.get_or_make(1, bytes("yes")), Ok(Bytes::from("yes")));
        assert_eq!(forms.get_or_make(1, bytes("again")), Ok(Bytes::from("yes")));
    }

    #[test]
    fn a_form_may_be_made_of_another() {
        let forms = Forms::default();
        let frame = forms.get_or_make(2, || forms.get_or_make(1, bytes("inner")));
        assert_eq!(frame, Ok(Bytes::from("inner")));
        assert_eq!(forms.get(1), Some(Bytes::from("inner")));
    }
}
