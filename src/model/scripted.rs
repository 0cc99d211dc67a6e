//! A model whose replies are read from a JSON file.

use super::*;
use std::path::Path;

pub struct Scripted {}

impl Scripted {
    pub fn open(_path: &Path, _spec: &ModelSpec, _version: Option<&[u8]>) -> Result<Self, ModelError> {
        todo!()
    }
}

impl LanguageModel for Scripted {
    fn context(&self) -> usize {
        todo!()
    }
    fn encode_chat(&self, _messages: &[Message]) -> Result<Vec<TokenId>, ModelError> {
        todo!()
    }
    fn continue_chat(&self, _: &[Message], _: &GenReply, _: &[Message]) -> Result<Vec<TokenId>, ModelError> {
        todo!()
    }
    fn encode_row(&self, _messages: &[Message]) -> Result<TrainRow, ModelError> {
        todo!()
    }
    fn generate(&self, _requests: &[GenRequest]) -> Vec<Result<GenReply, ModelError>> {
        todo!()
    }
}

pub fn identity(_path: &Path) -> Result<Digest, ModelError> {
    todo!()
}

pub fn train(
    _start: Option<&[u8]>,
    _rows: &[TrainRow],
    _config: &TrainConfig,
    _seed: Seed,
    _monitor: &mut dyn TrainMonitor,
) -> Result<Trained, ModelError> {
    todo!()
}
