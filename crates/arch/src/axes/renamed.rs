//! Names of tensors once layers are gone: the rest count from zero.

use crate::Model;

impl Model {
    /// The name of a tensor of the checkpoint when only the layers `kept` stay, ascending; `None` when
    /// its layer goes. What no template names goes and moves with its layer; layers beyond those that
    /// the config counts stay right behind the last.
    pub fn renamed(&self, tensor: &str, kept: &[usize]) -> Option<String> {
        let Some((beginning, layer, rest)) = self.numbered(tensor) else {
            return Some(tensor.to_owned());
        };
        let number = match kept.binary_search(&layer) {
            Ok(number) => number,
            Err(_) => layer.checked_sub(self.layers)?.checked_add(kept.len())?,
        };
        Some(format!("{beginning}{number}{rest}"))
    }

    /// A name in a layer as what stands before the layer's number, the number, and what follows it.
    fn numbered<'t>(&self, tensor: &'t str) -> Option<(&'t str, usize, &'t str)> {
        let path = self.family?.block.path.split_once("{layer}")?.0;
        let beginning = self.naming?.apply(path);
        let rest = tensor.strip_prefix(&beginning)?;
        let (number, _) = rest.split_once('.')?;
        let (place, end) = (beginning.len(), beginning.len() + number.len());
        Some((&tensor[..place], number.parse().ok()?, &tensor[end..]))
    }
}
