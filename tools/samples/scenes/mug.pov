#version 3.7;
#include "studio.inc"
// A stoneware mug with a blue reactive glaze over bare clay.

Studio(1, <0.90, 0.90, 0.895>, 0.83, 1)
Lens(<0.1, 3.3, -9.2>, <0.06, 0.95, 0>, 20.5)

#declare Clay = texture {
  pigment {
    granite scale 0.05
    color_map { [0 rgb <0.40, 0.26, 0.16>] [0.35 rgb <0.56, 0.39, 0.25>] [1 rgb <0.66, 0.48, 0.32>] }
  }
  normal { granite 0.12 scale 0.06 }
  finish { F_Matte }
}
#declare N_Thrown = normal {
  average
  normal_map {
    [1 gradient y 0.30 sine_wave scale 0.13 warp { turbulence 0.02 }]
    [1 bumps 0.10 scale 0.35]
    [0.6 bumps 0.05 scale 0.03]
  }
}
#declare Blue = texture {
  pigment {
    bozo warp { turbulence 0.6 octaves 4 }
    color_map {
      [0.0 rgb <0.008, 0.055, 0.165>]
      [0.5 rgb <0.015, 0.105, 0.270>]
      [1.0 rgb <0.030, 0.185, 0.380>]
    }
    scale <0.5, 0.25, 0.5>
  }
  normal { N_Thrown }
  finish { F_Glaze }
}
#declare Speckle = texture {
  pigment {
    spotted
    color_map { [0 rgb <0.25, 0.42, 0.52> transmit 0.1] [0.20 rgb <0.2, 0.35, 0.45> transmit 0.7] [0.26 rgb 0.1 transmit 1] [1 rgb 0 transmit 1] }
    scale 0.045
  }
  normal { N_Thrown }
  finish { F_Glaze }
}
#declare BlueGlaze = texture { Blue } texture { Speckle }
#declare Rim = texture {
  pigment { rgb <0.30, 0.20, 0.13> }
  finish { F_Glaze }
}
#declare Outside = texture {
  gradient y
  texture_map {
    [0.000 Clay]
    [0.211 Clay]
    [0.216 Rim]
    [0.232 BlueGlaze]
    [0.868 BlueGlaze]
    [0.895 Rim]
    [1.000 Rim]
  }
  warp { turbulence <0, 0.035, 0> octaves 2 lambda 2 }
  scale 2.2
}
#declare Inside = texture {
  pigment { bozo scale 0.25 color_map { [0 rgb <0.60, 0.60, 0.55>] [1 rgb <0.70, 0.69, 0.63>] } }
  normal { N_Thrown }
  finish { F_Satin }
}

union {
  lathe { // outside
    bezier_spline 20
    <0.00, 0.04>, <0.20, 0.04>, <0.40, 0.04>, <0.58, 0.04>   // under the foot
    <0.58, 0.04>, <0.60, 0.00>, <0.66, 0.00>, <0.70, 0.04>   // foot ring
    <0.70, 0.04>, <0.87, 0.22>, <0.88, 0.55>, <0.87, 0.95>   // belly
    <0.87, 0.95>, <0.86, 1.30>, <0.85, 1.60>, <0.87, 1.93>   // wall
    <0.87, 1.93>, <0.875, 2.01>, <0.80, 2.01>, <0.795, 1.93> // lip
    texture { Outside }
    no_shadow no_radiosity
  }
  lathe { // inside
    bezier_spline 8
    <0.795, 1.93>, <0.77, 1.30>, <0.82, 0.40>, <0.60, 0.20>
    <0.60, 0.20>, <0.40, 0.13>, <0.20, 0.12>, <0.00, 0.12>
    texture { Inside }
    no_shadow no_radiosity
  }
  // a plain wall between the two casts their shadow, which is much quicker to trace
  union {
    disc { 0.08*y, y, 0.66 }
    cone { 0.03*y, 0.64, 0.40*y, 0.82 open }
    cylinder { 0.40*y, 1.94*y, 0.83 open }
    pigment { rgb <0.10, 0.14, 0.22> }
    no_image no_reflection
  }
  // handle: a flattened ring, running into the wall with a soft fillet
  isosurface {
    function {
      fn_smin(
        sqrt(x*x + z*z) - 0.853 + 0.9*max(0, 0.65-y)*max(0, 0.65-y),
        sqrt(pow(sqrt((x-0.88)*(x-0.88) + (y-1.17)*(y-1.17)) - 0.50, 2) + z*z*0.36) - 0.085,
        0.10)
    }
    contained_by { box { <0.3, 0.42, -0.45>, <1.6, 1.90, 0.45> } }
    open
    accuracy 0.001 max_gradient 1.3
    texture { BlueGlaze }
    no_shadow no_radiosity no_reflection
  }
  torus {
    0.50, 0.08
    rotate 90*x scale <1, 1, 1.6> translate <0.88, 1.17, 0>
    pigment { rgb <0.015, 0.105, 0.270> }
    no_image
  }
  rotate 58*y
}
