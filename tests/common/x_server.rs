//! A virtual X server (Xvfb) with a picture on it: what an agent is to capture, and what its input
//! is to move.

use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{
    AtomEnum, ConnectionExt as _, CreateGCAux, CreateWindowAux, EventMask, ImageFormat, Rectangle,
    WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use super::desktop::Picture;
use super::process::Process;

/// A running X server with 24-bit colour.
pub struct XServer {
    _process: Process,
    connection: RustConnection,
    root: u32,
    window: u32,
    size: (u16, u16),
    display: String,
}

impl XServer {
    /// Starts one of that many pixels with a black screen.
    ///
    /// # Panics
    /// If Xvfb is not installed or does not start.
    pub fn start(width: u16, height: u16) -> Self {
        let screen = format!("{width}x{height}x24");
        let process = Process::start("Xvfb", |command| {
            command.args(["-displayfd", "1", "-screen", "0", &screen]);
            command.args(["-nolisten", "tcp", "-noreset", "-ac"]);
        });
        let number = process.wait_for_line(|line| line.trim().parse::<u32>().is_ok());
        let display = format!(":{}", number.trim());
        let (connection, screen) = x11rb::connect(Some(&display)).expect("the server listens");
        let root = connection.setup().roots[screen].root;
        let window = connection.generate_id().expect("the server has ids");
        // Nobody manages windows here: this one is the whole desktop.
        let values = CreateWindowAux::new()
            .background_pixel(0)
            .override_redirect(1)
            .event_mask(EventMask::KEY_PRESS | EventMask::BUTTON_PRESS | EventMask::EXPOSURE);
        connection
            .create_window(
                x11rb::COPY_DEPTH_FROM_PARENT,
                window,
                root,
                0,
                0,
                width,
                height,
                0,
                WindowClass::INPUT_OUTPUT,
                x11rb::COPY_FROM_PARENT,
                &values,
            )
            .expect("the server reads");
        connection
            .change_property8(
                x11rb::protocol::xproto::PropMode::REPLACE,
                window,
                AtomEnum::WM_NAME,
                AtomEnum::STRING,
                b"desktop",
            )
            .expect("the server reads");
        connection.map_window(window).expect("the server reads");
        connection.sync().expect("the server answers");
        Self { _process: process, connection, root, window, size: (width, height), display }
    }

    /// What goes into `DISPLAY`.
    pub fn display(&self) -> &str {
        &self.display
    }

    /// Fills a rectangle with a colour, `0xRRGGBB`.
    pub fn fill(&self, x: i16, y: i16, width: u16, height: u16, colour: u32) {
        self.fill_all(&[(Rectangle { x, y, width, height }, colour)]);
    }

    /// Fills rectangles, one after the other.
    pub fn fill_all(&self, rectangles: &[(Rectangle, u32)]) {
        for (rectangle, colour) in rectangles {
            let context = self.connection.generate_id().expect("the server has ids");
            let values = CreateGCAux::new().foreground(*colour);
            self.connection.create_gc(context, self.window, &values).expect("the server reads");
            self.connection
                .poly_fill_rectangle(self.window, context, &[*rectangle])
                .expect("the server reads");
            self.connection.free_gc(context).expect("the server reads");
        }
        self.connection.sync().expect("the server answers");
    }

    /// What is on the screen, as the X server itself has it.
    pub fn screenshot(&self) -> Picture {
        let (width, height) = self.size;
        let image = self
            .connection
            .get_image(ImageFormat::Z_PIXMAP, self.root, 0, 0, width, height, !0)
            .expect("the server reads")
            .reply()
            .expect("the server answers");
        let mut picture = Picture::new(width.into(), height.into());
        for (pixel, bgrx) in picture.pixels.iter_mut().zip(image.data.chunks_exact(4)) {
            *pixel = [bgrx[2], bgrx[1], bgrx[0]];
        }
        picture
    }

    /// Where the pointer is, and which buttons are down (bit 8 is the left one).
    pub fn pointer(&self) -> ((i16, i16), u16) {
        let reply = self
            .connection
            .query_pointer(self.root)
            .expect("the server reads")
            .reply()
            .expect("the server answers");
        ((reply.root_x, reply.root_y), reply.mask.into())
    }
}
