//! Text as token ids.
//!
//! This crate owns tokenizers, chat templates, the windows into which a text is cut, and files of
//! multiple-choice questions. It never knows a model.

#![forbid(unsafe_code)]
