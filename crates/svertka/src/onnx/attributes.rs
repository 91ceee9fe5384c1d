//! Attributes of a node on its way in.

use svertka_formats::onnx::TensorProto;
use svertka_kernels::geometry::Window;

use super::import::{Import, format_error};
use crate::error::{Error, Result};

impl Import<'_> {
    /// An integer attribute.
    ///
    /// # Errors
    /// Where it has another type.
    pub fn int(&self, name: &str, default: i64) -> Result<i64> {
        Ok(self.node.attr_int(name).map_err(format_error)?.unwrap_or(default))
    }

    /// An integer attribute that counts something.
    ///
    /// # Errors
    /// Where it is below `least`.
    pub fn int_at_least(&self, name: &'static str, default: i64, least: usize) -> Result<usize> {
        let received = self.int(name, default)?;
        let size = usize::try_from(received).ok().filter(|size| *size >= least);
        size.ok_or_else(|| Error::argument(&self.node.op_type, name, format!("at least {least}"), received))
    }

    /// A float attribute.
    ///
    /// # Errors
    /// Where it has another type.
    pub fn float(&self, name: &str, default: f32) -> Result<f32> {
        Ok(self.node.attr_float(name).map_err(format_error)?.unwrap_or(default))
    }

    /// A text attribute.
    ///
    /// # Errors
    /// Where it has another type.
    pub fn string(&self, name: &str, default: &str) -> Result<String> {
        Ok(self.node.attr_string(name).map_err(format_error)?.unwrap_or(default).to_owned())
    }

    /// A tensor attribute.
    ///
    /// # Errors
    /// Where it has another type.
    pub fn tensor(&self, name: &str) -> Result<Option<TensorProto>> {
        Ok(self.node.attr_tensor(name).map_err(format_error)?.cloned())
    }

    /// A list of integers.
    ///
    /// # Errors
    /// Where it has another type.
    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>> {
        Ok(self.node.attr_ints(name).map_err(format_error)?.map(<[i64]>::to_vec))
    }

    /// A list of floats.
    ///
    /// # Errors
    /// Where it has another type.
    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>> {
        Ok(self.node.attr_floats(name).map_err(format_error)?.map(<[f32]>::to_vec))
    }

    /// A list of sizes.
    ///
    /// # Errors
    /// Where one is negative.
    pub fn sizes(&self, name: &'static str) -> Result<Option<Vec<usize>>> {
        let Some(ints) = self.ints(name)? else { return Ok(None) };
        let sizes: Option<Vec<usize>> = ints.iter().map(|&size| usize::try_from(size).ok()).collect();
        let negative =
            || Error::argument(&self.node.op_type, name, "no negative number", format!("{ints:?}"));
        sizes.map(Some).ok_or_else(negative)
    }

    /// An axis of a value with `rank` axes; negative ones count from the end.
    ///
    /// # Errors
    /// Where there is no such axis.
    pub fn axis(&self, name: &'static str, default: i64, rank: usize) -> Result<usize> {
        self.axis_number(name, self.int(name, default)?, rank)
    }

    /// As [`Import::axis`], for a number from a list or an input.
    ///
    /// # Errors
    /// Where there is no such axis.
    pub fn axis_number(&self, name: &'static str, received: i64, rank: usize) -> Result<usize> {
        let axis =
            usize::try_from(if received < 0 { received.saturating_add(rank as i64) } else { received });
        axis.ok()
            .filter(|axis| *axis < rank)
            .ok_or_else(|| Error::argument(&self.node.op_type, name, format!("an axis of {rank}"), received))
    }

    /// Axes of a value with `rank` axes, named in the attribute `axes` or, in later opsets, by constant input 1; negative ones count from the end.
    ///
    /// # Errors
    /// Where there is no such axis.
    pub fn axes(&self, rank: usize) -> Result<Option<Vec<usize>>> {
        let axes = match self.ints("axes")? {
            Some(axes) => axes,
            None if self.has_input(1) => self.constant_ints(1)?,
            None => return Ok(None),
        };
        axes.iter().map(|&axis| self.axis_number("axes", axis, rank)).collect::<Result<_>>().map(Some)
    }

    /// The window of a convolution or pooling: `strides`, `dilations`, `pads` or `auto_pad`, over an input with these `dims` spatial sizes.
    ///
    /// # Errors
    /// Where a list has not one size for each axis.
    pub fn window(&self, kernel: &[usize], input: &[usize], dims: usize) -> Result<Window> {
        let list = |name: &'static str, default: usize, count: usize| {
            let sizes = self.sizes(name)?.unwrap_or_else(|| vec![default; count]);
            if sizes.len() == count {
                return Ok(sizes);
            }
            Err(Error::argument(&self.node.op_type, name, format!("{count} sizes"), format!("{sizes:?}")))
        };
        if !(1..=3).contains(&dims) || kernel.len() != dims {
            let expected = "1 to 3 spatial axes, one size for each";
            return Err(Error::argument(&self.node.op_type, "kernel_shape", expected, format!("{kernel:?}")));
        }
        let kernel = match self.sizes("kernel_shape")? {
            Some(shape) if shape != kernel => {
                let expected = format!("{kernel:?}, as the weight has it");
                return Err(Error::argument(
                    &self.node.op_type,
                    "kernel_shape",
                    expected,
                    format!("{shape:?}"),
                ));
            }
            _ => kernel,
        };
        let (strides, dilations) = (list("strides", 1, dims)?, list("dilations", 1, dims)?);
        let pads = list("pads", 0, 2 * dims)?;
        let mut window = Window::default();
        let mut sizes = [1; 3];
        for a in 0..dims {
            let axis = a + 3 - dims;
            (window.kernel[axis], window.stride[axis], window.dilation[axis]) =
                (kernel[a], strides[a], dilations[a]);
            window.padding[axis] = (pads[a], pads[dims + a]);
            sizes[axis] = input[a];
        }
        match self.string("auto_pad", "NOTSET")?.as_str() {
            "NOTSET" => {}
            "VALID" => window.padding = [(0, 0); 3],
            "SAME_UPPER" => window.padding = window.same_padding(sizes, true),
            "SAME_LOWER" => window.padding = window.same_padding(sizes, false),
            other => return Err(Error::unsupported(&self.node.op_type, format!("auto_pad = {other:?}"))),
        }
        Ok(window)
    }
}
