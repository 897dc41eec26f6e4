#version 3.7;
#include "studio.inc"
// A wooden toy car, oiled beech with painted windows and walnut wheels.

Studio(1.05, <0.90, 0.90, 0.90>, 0.74, 1.2)
Lens(<-3.4, 3.7, -11>, <0.02, 0.82, 0>, 21.5)

#declare Beech = texture { Wood(<0.64, 0.36, 0.155>, <0.44, 0.215, 0.080>) scale 0.30 rotate 90*y rotate <3, 4, 6> translate <0, -0.7, 0.55> finish { F_Satin } }
#declare BeechPores = texture { Pores(<0.22, 0.10, 0.04>) rotate 90*y rotate <3, 4, 6> finish { F_Satin } }
#declare Walnut = texture { Wood(<0.19, 0.090, 0.042>, <0.085, 0.038, 0.018>) scale 0.16 rotate 84*x translate <0.2, 0.3, 0> finish { F_Satin } }
#declare Paint = texture { pigment { rgb <0.008, 0.085, 0.105> } finish { F_Glaze } }

#declare WX1 = -1.02; #declare WX2 = 1.05; #declare WY = 0.40; #declare WR = 0.40;

// side view: bonnet, cabin and tail flow into each other; arches over the wheels
#declare fn_low = function { fn_rbox(x, y-0.74, z, 1.78, 0.42, 0.66, 0.30) }
#declare fn_cab = function { fn_rbox(x-0.22 + 0.10*(y-1.2), y-1.22, z*(1 + 0.14*max(0, y-1.0)), 0.92, 0.62, 0.60, 0.36) }
#declare fn_body = function {
  fn_smax(fn_smax(fn_smin(fn_low(x, y, z), fn_cab(x, y, z), 0.42),
    0.51 - sqrt((x-WX1)*(x-WX1) + (y-WY)*(y-WY)), 0.06),
    0.51 - sqrt((x-WX2)*(x-WX2) + (y-WY)*(y-WY)), 0.06)
}
// windows are recesses: the same cabin, shrunk sideways
#declare Wn1 = function { fn_rbox(x + 0.17 + 0.12*(y-1.46), y-1.46, 0, 0.30, 0.185, 1, 0.12) }
#declare Wn2 = function { fn_rbox(x - 0.58, y-1.46, 0, 0.30, 0.185, 1, 0.12) }
#declare fn_side = function { min(Wn1(x, y, z), Wn2(x, y, z)) }
#declare fn_front = function { max(fn_rbox(0, y-1.46, z, 1, 0.17, 0.40, 0.12), x + 0.1) }
#declare fn_rear = function { max(fn_rbox(0, y-1.46, z, 1, 0.17, 0.40, 0.12), 0.5 - x) }
#declare fn_holes = function { min(fn_side(x, y, z), min(fn_front(x, y, z), fn_rear(x, y, z))) }

isosurface {
  function { fn_smax(fn_body(x, y, z), -max(fn_holes(x, y, z), -(fn_body(x, y, z) + 0.05)), 0.03) }
  contained_by { box { <-2, 0.2, -0.9>, <2, 2.1, 0.9> } }
  threshold 0 accuracy 0.001 max_gradient 1.6
  texture { Beech }
  texture { BeechPores }
  no_shadow no_radiosity no_reflection
}
// painted panes fill the recesses almost to the surface
isosurface {
  function { fn_smax(fn_body(x, y, z) + 0.028, fn_holes(x, y, z), 0.02) }
  contained_by { box { <-2, 0.9, -0.9>, <2, 2.1, 0.9> } }
  threshold 0 accuracy 0.001 max_gradient 1.6
  texture { Paint }
  no_shadow no_radiosity no_reflection
}

// the block between the wheels
box { <-1.58, 0.46, -0.34>, <1.58, 1.0, 0.34> texture { Beech } }

// tracing shadows against the isosurface is slow: a rough copy just inside it casts them
union {
  difference {
    superellipsoid { <0.25, 0.25> scale <1.66, 0.32, 0.56> translate 0.70*y }
    cylinder { <WX1, WY, -1>, <WX1, WY, 1>, 0.54 }
    cylinder { <WX2, WY, -1>, <WX2, WY, 1>, 0.54 }
  }
  superellipsoid { <0.35, 0.45> scale <0.76, 0.54, 0.46> translate <0.21, 1.18, 0> }
  pigment { rgb <0.5, 0.27, 0.11> }
  no_image
}

#declare Wheel = union {
  lathe { // tyre
    bezier_spline 16
    <0.10, 0.15>, <0.16, 0.15>, <0.22, 0.11>, <0.27, 0.13>
    <0.27, 0.13>, <0.33, 0.16>, <0.40, 0.14>, <0.40, 0.06>
    <0.40, 0.06>, <0.40, 0.02>, <0.40, -0.02>, <0.40, -0.06>
    <0.40, -0.06>, <0.40, -0.15>, <0.33, -0.15>, <0.10, -0.15>
    texture { Walnut rotate -90*x }
  }
  cylinder { -0.14*y, 0.14*y, 0.12 texture { Walnut } }
  // axle peg
  sphere { 0, 0.12 scale <1, 0.55, 1> translate 0.15*y texture { Beech } }
  rotate -90*x
}
#for (S, -1, 1, 2)
  object { Wheel rotate 30*z #if (S > 0) rotate 180*y #end translate <WX1, WY, S*0.56> }
  object { Wheel rotate -50*z #if (S > 0) rotate 180*y #end translate <WX2, WY, S*0.56> }
  // lamps
  sphere { 0, 0.15 scale <0.55, 1, 1> translate <-1.76, 0.86, S*0.36> texture { Walnut } }
#end
cylinder { <WX1, WY, -0.5>, <WX1, WY, 0.5>, 0.07 texture { Walnut } }
cylinder { <WX2, WY, -0.5>, <WX2, WY, 0.5>, 0.07 texture { Walnut } }
// bumper
sphere_sweep { linear_spline 2, <-1.77, 0.50, -0.5>, 0.075, <-1.77, 0.50, 0.5>, 0.075 texture { Walnut rotate 90*x } }
sphere_sweep { linear_spline 2, < 1.77, 0.50, -0.5>, 0.075, < 1.77, 0.50, 0.5>, 0.075 texture { Walnut rotate 90*x } }
