//! Telling an observer how many bytes of a body have gone. A piece that was handed on may still lie in the buffers of a
//! connection that nobody reads. It counts as gone when the next piece is asked for; the last piece counts as gone when it
//! is handed on, as nobody asks after that.

use std::task::Poll;

use super::frames::Polled;

/// Watches a body on its way.
pub trait Observe: Send + Unpin {
    /// A piece has come, and is handed on.
    fn came(&mut self) {}
    /// The next piece is awaited.
    fn awaited(&mut self) {}
    /// The body has ended.
    fn ended(&mut self) {}
    /// So many bytes have gone.
    fn arrived(&mut self, bytes: u64);
    /// The body was dropped before its end. Nobody knows how many of these last bytes have gone.
    fn unfinished(&mut self, _bytes: u64) {}
    /// The body broke.
    fn broke(&mut self) {}
}

impl<O: Observe + ?Sized> Observe for Box<O> {
    fn came(&mut self) {
        (**self).came();
    }
    fn awaited(&mut self) {
        (**self).awaited();
    }
    fn ended(&mut self) {
        (**self).ended();
    }
    fn arrived(&mut self, bytes: u64) {
        (**self).arrived(bytes);
    }
    fn unfinished(&mut self, bytes: u64) {
        (**self).unfinished(bytes);
    }
    fn broke(&mut self) {
        (**self).broke();
    }
}

/// An observer, and the bytes it has not been told of yet.
pub(super) struct Watch<O: Observe> {
    /// `None`: it was taken away.
    observer: Option<O>,
    in_hand: u64,
    /// Bytes that are still to come, where the length is known.
    left: Option<u64>,
}

impl<O: Observe> Watch<O> {
    pub(super) fn new(observer: O, length: Option<u64>) -> Self {
        Self { observer: Some(observer), in_hand: 0, left: length }
    }

    /// The observer, for somebody else to tell.
    pub(super) fn into_observer(mut self) -> Option<O> {
        self.observer.take()
    }

    /// The next piece is asked for.
    pub(super) fn asked(&mut self) {
        let gone = std::mem::take(&mut self.in_hand);
        if let Some(observer) = self.observer.as_mut().filter(|_| gone > 0) {
            observer.arrived(gone);
        }
    }

    /// A poll gave this; `is_end`: the body says that it is over.
    pub(super) fn given(&mut self, polled: &Polled, is_end: bool) {
        let Some(observer) = &mut self.observer else { return };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                observer.came();
                self.in_hand = bytes;
                self.left = self.left.map(|left| left.saturating_sub(bytes));
                if is_end || self.left == Some(0) {
                    self.asked();
                }
            }
            Poll::Ready(Some(Err(_))) => observer.broke(),
            Poll::Ready(None) => observer.ended(),
            Poll::Pending => observer.awaited(),
        }
    }
}

impl<O: Observe> Drop for Watch<O> {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.in_hand);
        if let Some(observer) = self.observer.as_mut().filter(|_| bytes > 0) {
            observer.unfinished(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Waker};

    use bytes::Bytes;
    use http_body::{Body as _, Frame};

    use super::super::{Body, BodyError, PIECE_BYTES};
    use super::*;

    /// What an observer was told, one after the other.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<String>>>);

    impl Told {
        fn so_far(&self) -> Vec<String> {
            self.0.lock().unwrap().clone()
        }
    }

    impl Observe for Told {
        fn arrived(&mut self, bytes: u64) {
            self.0.lock().unwrap().push(format!("{bytes} gone"));
        }
        fn unfinished(&mut self, bytes: u64) {
            self.0.lock().unwrap().push(format!("{bytes} in doubt"));
        }
    }

    impl Drop for Told {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("over".to_owned());
        }
    }

    /// Bytes in pieces of ten.
    struct Tens(usize);

    impl http_body::Body for Tens {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
            self.0 = left;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"0123456789")))))
        }
    }

    /// Asks for so many pieces, as a connection does that has room for them; how many bytes they are.
    fn ask(body: &mut Body, pieces: usize) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        let polls = (0..pieces).map(|_| match Pin::new(&mut *body).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap().len(),
            _ => 0,
        });
        polls.sum()
    }

    #[test]
    fn a_piece_has_gone_when_the_next_one_is_asked_for_and_the_last_one_at_once() {
        let told = Told::default();
        let mut body = Body::stream(Tens(3), Some(30)).observed(told.clone());
        assert_eq!(ask(&mut body, 1), 10);
        assert_eq!(told.so_far(), Vec::<String>::new());
        assert_eq!(ask(&mut body, 1), 10);
        assert_eq!(told.so_far(), ["10 gone"]);
        // hyper does not ask again once there is all that was promised.
        assert_eq!(ask(&mut body, 1), 10);
        assert_eq!(told.so_far(), ["10 gone", "10 gone", "10 gone"]);
    }

    #[test]
    fn where_no_length_was_promised_the_end_is_asked_for() {
        let told = Told::default();
        let mut body = Body::stream(Tens(1), None).observed(told.clone());
        ask(&mut body, 1);
        assert_eq!(told.so_far(), Vec::<String>::new());
        ask(&mut body, 1);
        assert_eq!(told.so_far(), ["10 gone"]);
    }

    #[test]
    fn what_was_handed_on_last_is_in_doubt_where_the_body_is_given_up() {
        for body in [Body::stream(Tens(3), Some(30)), Body::native(Tens(3), Some(30), ())] {
            let told = Told::default();
            let mut body = body.observed(told.clone());
            ask(&mut body, 2);
            drop(body);
            assert_eq!(told.so_far(), ["10 gone", "10 in doubt", "over"]);
        }
    }

    #[test]
    fn a_body_that_is_here_as_a_whole_goes_in_pieces_and_is_over_when_they_have_gone() {
        let told = Told::default();
        let length = 2 * PIECE_BYTES + 1;
        let mut body = Body::from(Bytes::from(vec![7; length])).observed(told.clone());
        assert_eq!((body.length(), ask(&mut body, 1)), (Some(length as u64), PIECE_BYTES));
        assert_eq!(told.so_far(), Vec::<String>::new());
        assert_eq!(ask(&mut body, 2), PIECE_BYTES + 1);
        let all = [format!("{PIECE_BYTES} gone"), format!("{PIECE_BYTES} gone"), "1 gone".to_owned()];
        assert_eq!(told.so_far(), all);
        assert!(body.is_end_stream());
        drop(body);
        assert_eq!(told.so_far().last().unwrap(), "over");
    }

    #[test]
    fn who_takes_a_body_as_a_whole_has_it_all() {
        let told = Told::default();
        let Body::Full(whole) = Body::from(Bytes::from(vec![7; 200_000])).observed(told.clone()) else { panic!() };
        assert_eq!(whole.take().len(), 200_000);
        assert_eq!(told.so_far(), ["200000 gone", "over"]);
    }
}
